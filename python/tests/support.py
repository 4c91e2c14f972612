"""Problems that several tests use."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import bilevel

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples"))
from own_solver import SOBA as SOBA  # noqa: E402


class P1:
    """The known problem p1, written in torch."""

    def __init__(self, c=2.0, dim=4, start=2.5):
        self.x = torch.full((dim,), start, dtype=torch.float64, requires_grad=True)
        self.y = torch.zeros(dim, dtype=torch.float64, requires_grad=True)
        self.problem = bilevel.Problem(
            upper=bilevel.Level({"x": self.x}, lambda b: torch.cosh(c * self.x).sum() + torch.sin(self.y).sum()),
            lower=bilevel.Level({"y": self.y}, lambda b: 0.5 * (self.y - self.x).square().sum()),
        )


def rows(count=60, features=5, seed=0, dtype=torch.float64):
    """Rows of two classes, as (inputs, targets)."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, features, generator=generator, dtype=dtype)
    return inputs, (inputs[:, 0] + 0.3 * torch.randn(count, generator=generator, dtype=dtype) > 0).long()


class Ridge:
    """Strengths of a penalty, learned over minibatches: a lower level that is strongly convex."""

    def __init__(self, batch_size=8, dropout=0.0, dtype=torch.float64):
        torch.manual_seed(0)
        self.strength = torch.zeros(5, dtype=dtype, requires_grad=True)
        self.head = nn.Linear(5, 2, dtype=dtype)
        drop = nn.Dropout(dropout)

        def entropy(batch):
            return F.cross_entropy(self.head(drop(batch.inputs)), batch.targets)

        self.problem = bilevel.Problem(
            upper=bilevel.Level([self.strength], entropy, data=rows(seed=1, dtype=dtype), batch_size=batch_size),
            lower=bilevel.Level(
                self.head,
                lambda b: entropy(b) + ((self.strength.exp() + 0.1) * self.head.weight.square()).sum()
                + 0.1 * self.head.bias.square().sum(),
                data=rows(seed=2, dtype=dtype),
                batch_size=batch_size,
            ),
        )  # fmt: skip

    def values(self):
        return [p.detach().clone() for p in (self.strength, *self.head.parameters())]


def equal(a, b):
    return len(a) == len(b) and all(torch.equal(s, t) for s, t in zip(a, b))
