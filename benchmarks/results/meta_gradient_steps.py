"""Gradient steps in each task instead of solved heads: HuffPost with one shot, rnn, one seed, as many steps."""
from _few_shot import glove, huffpost

TITLE = "Gradient steps in each task: ANIL and first-order MAML"
DEPENDS = ["benchmarks/results/_few_shot.py", "bilevel/task/meta", "bilevel/task/job", "bilevel/problem",
           "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model"]


def table(run):
    summary = run.bilevel(["meta", *huffpost(run), *glove(run), "--shots", 1, "--steps", 100, "--l2", 0.5, "--hidden", 128,
                           "--set", "upper_step_size=0.003", "--baselines", "anil,maml", "--seed", 100, "--out", "steps"])
    lines = ["| method | test accuracy (95 % interval over tasks) |", "|---|---|"]
    for name, found in (("AdamBO, ridge heads", summary["metrics"]["test"]), ("ANIL", summary["baselines"]["anil"]),
                        ("first-order MAML", summary["baselines"]["maml"])):
        lines.append(f"| {name} | {found['accuracy']:.4f} ({found['interval'][0]:.4f} to {found['interval'][1]:.4f}) |")
    return "\n".join(lines)
