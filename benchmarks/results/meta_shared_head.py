"""Hyper-representation (`--head shared`) on FDU-MTL, 5 shots: BO-REP beside AdamBO, the same tasks for both."""
from _few_shot import fdu, glove

TITLE = "One shared head: BO-REP beside AdamBO"
DEPENDS = ["benchmarks/results/_few_shot.py", "bilevel/task/meta", "bilevel/task/job", "bilevel/problem",
           "bilevel/solver/adambo", "bilevel/solver/bo-rep", "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model"]
SEEDS = range(100, 105)


def table(run):
    words = ["meta", *fdu(run), *glove(run), "--head", "shared", "--shots", 5, "--queries", 5, "--hidden", 64,
             "--meta-batch", 10, "--steps", 100]
    options = {"adambo": ["--set", "upper_step_size=0.005", "--set", "neumann_terms=3"],
               "bo-rep": ["--solver", "bo-rep", "--set", "upper_step_size=0.5"]}
    runs = {solver: [run.bilevel([*words, *more, "--seed", seed, "--out", f"{solver}-{seed}"]) for seed in SEEDS]
            for solver, more in options.items()}
    accuracy = {solver: [r["metrics"]["test"]["accuracy"] for r in found] for solver, found in runs.items()}
    for name, key in (("nearest mean", "nearest_class_mean"), ("untrained, ridge head", "untrained")):
        accuracy[name] = [r["baselines"][key]["accuracy"] for r in runs["adambo"]]
    lines = ["| solver | test accuracy | less AdamBO, paired |", "|---|---|---|"]
    for name, values in accuracy.items():
        less = [a - b for a, b in zip(values, accuracy["adambo"])]
        lines.append(f"| {name} | {run.shown(values, 4)} | {'' if name == 'adambo' else run.shown(less, 4, sign=True)} |")
    return "\n".join(lines)
