#!/usr/bin/env python3
"""What an AdamBO step costs on deep AUC with an rnn (hidden 256): with losses in Python, with the same losses in C++, and the
same algorithm written by hand in PyTorch; and once more with the constant lower Hessian told to the library. Processor time, one
thread; all take turns.

    PYTHONPATH=build/python python benchmarks/python_step.py [--program build/benchmarks/rnn_step_benchmark] [--rounds 7]
"""

import argparse
import statistics
import subprocess
import time

import torch
from torch import nn

import bilevel

SHARE, STEPS, TERMS, LOWER, UPPER = 0.05, 20, 10, 0.1, 1e-3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.RNN(50, 256, batch_first=True), nn.Linear(256, 1)
        self.a, self.b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def loss(self, alpha, inputs, positive):
        scores = self.head(self.rnn(inputs)[0].mean(1)).squeeze(1)
        spread = (1 - SHARE) * (scores - self.a) ** 2 * positive + SHARE * (scores - self.b) ** 2 * (1 - positive)
        gap = SHARE * scores * (1 - positive) - (1 - SHARE) * scores * positive
        return (spread + 2 * alpha * gap).mean() + (2 * alpha - alpha**2).squeeze() * SHARE * (1 - SHARE)


def of_library(data, told):
    torch.manual_seed(0)
    net, alpha, begin = Net(), torch.zeros(1, requires_grad=True), [0.0]

    def watch(report):
        if report.step == 5:
            begin[0] = time.process_time()

    problem = bilevel.Problem(
        bilevel.Level(net, lambda b: net.loss(alpha, b.inputs, b.targets), data=data),
        bilevel.Level([alpha], lambda b: -net.loss(alpha, b.inputs, b.targets), data=data),
        lower_hessian=(lambda v: 2 * SHARE * (1 - SHARE) * v) if told else None,
    )
    solver = bilevel.AdamBO(upper_step_size=UPPER, lower_step_size=LOWER, neumann_step_size=1, neumann_terms=TERMS)
    bilevel.run(problem, solver, max_steps=STEPS + 5, callback=watch, progress=False)
    return 1e3 * (time.process_time() - begin[0]) / STEPS


def by_hand(data):
    """AdamBO: a step on y, a Neumann series of products on batches of their own, Adam on x."""
    torch.manual_seed(0)
    net, alpha = Net(), torch.zeros(1, requires_grad=True)
    x = list(net.parameters())
    optimizer = torch.optim.Adam(x, UPPER)

    def draw():
        rows = torch.randint(0, len(data[0]), (32,))
        return data[0][rows], data[1][rows]

    def lower_slope():
        return torch.autograd.grad(-net.loss(alpha, *draw()), alpha, create_graph=True)[0]

    for step in range(STEPS + 5):
        if step == 5:
            begin = time.process_time()
        (slope,) = torch.autograd.grad(-net.loss(alpha, *draw()), alpha)
        with torch.no_grad():
            alpha -= LOWER * slope
        in_x = torch.autograd.grad(net.loss(alpha, *draw()), [*x, alpha])
        term, z = in_x[-1], torch.zeros(1)
        for _ in range(TERMS):
            z = z + term
            (product,) = torch.autograd.grad(lower_slope(), alpha, term)
            term = term - product
        cross = torch.autograd.grad(lower_slope(), x, z, allow_unused=True)
        for p, g, c in zip(x, in_x, cross):
            p.grad = g if c is None else g - c
        optimizer.step()
    return 1e3 * (time.process_time() - begin) / STEPS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/benchmarks/rnn_step_benchmark")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = torch.randn(2000, 20, 50), (torch.rand(2000) < SHARE).float()
    def in_cpp(*told):
        done = subprocess.run([given.program, str(STEPS), *told], capture_output=True, text=True, check=True)
        return float(done.stdout)

    columns = {
        "losses in Python": lambda: of_library(data, False),
        "losses in C++": in_cpp,
        "losses in Python, Hessian told": lambda: of_library(data, True),
        "losses in C++, Hessian told": lambda: in_cpp("told"),
        "by hand in PyTorch": lambda: by_hand(data),
    }
    found = [{name: measure() for name, measure in columns.items()} for _ in range(given.rounds)]
    for name in columns:
        print(f"{name}: {statistics.median(row[name] for row in found):.1f} ms a step")
    for told in ("", ", Hessian told"):
        for other in (f"losses in C++{told}", "by hand in PyTorch"):
            ratios = sorted(row[f"losses in Python{told}"] / row[other] for row in found)
            print(f"losses in Python{told} / {other}: {statistics.median(ratios):.3f} (from {ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
