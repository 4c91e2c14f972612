"""`bilevel meta` on the vectors of a sentence encoder, beside the nearest class mean and logistic regression on the same vectors and tasks.

AdamBO less the better of the two references by mean accuracy. The bar is .01, its interval over seeds above 0.
BILEVEL_ENCODER_CACHE=FOLDER in the environment keeps the vectors from run to run.
"""
import os
import statistics

from _few_shot import fdu, huffpost

TITLE = "Few-shot learning on sentence vectors"
DEPENDS = ["benchmarks/results/meta_sentence.py", "benchmarks/results/_few_shot.py", "bilevel/task/meta",
           "bilevel/model/encoder/residual", "bilevel/model/bert.cpp", "bilevel/data/word_piece.cpp", "bilevel/solver/adambo"]
SEEDS = range(100, 105)
TASKS = {"HuffPost, 5 ways": huffpost, "FDU-MTL, 2 ways, new domains": fdu}
SHOTS = (1, 5)
REFERENCES = ("nearest_class_mean", "logistic_regression")


def table(run):
    folder = os.environ.get("BILEVEL_SENTENCE_ENCODER", "minilm")
    lines = ["| tasks | AdamBO | nearest mean | logistic regression | AdamBO less the better |", "|---|---|---|---|---|"]
    for name, shots in [(name, shots) for name in TASKS for shots in SHOTS]:
        runs = [run.bilevel(["meta", *TASKS[name](run), "--sentence-encoder", folder, "--shots", shots, "--baselines",
                             "nearest-class-mean,logistic-regression", "--seed", seed, "--out", f"{name[:3]}-{shots}-{seed}"])
                for seed in SEEDS]
        own = [r["metrics"]["test"]["accuracy"] for r in runs]
        others = [[r["baselines"][name]["accuracy"] for r in runs] for name in REFERENCES]
        best = max(others, key=statistics.mean)
        lines.append(f"| {name}, {shots} shot{'s' if shots > 1 else ''} | **{run.shown(own, 4)}** | {' | '.join(run.shown(of, 4) for of in others)} | "
                     f"{run.shown([a - b for a, b in zip(own, best)], 4, sign=True)} |")
    return "\n".join(lines)
