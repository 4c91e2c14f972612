#!/usr/bin/env python3
"""Measures `bilevel auc` with the encoders linear and mlp, at their defaults, against scikit-learn's logistic regression.

Ten stratified 70/30 splits of every table and LIBSVM file of a data folder; logistic regression (C = 1, and the C in
{.01, .1, 1, 10, 100} that is best on the test rows, which flatters it) reads standardized columns and one-hot categories.
Prints a line per data set and encoder: mean test AUC of both, and the mean difference with its standard error over splits.

    python benchmarks/tables.py PROGRAM DATA_FOLDER [linear,mlp [SET,...]]

Needs numpy, scipy and scikit-learn.
"""
import gzip
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedShuffleSplit

SPLITS = 10
TABLES = {"sonar": "M", "haberman": "2", "ionosphere": "b", "pima-indians-diabetes": "1", "german": "2",
          "phoneme": "1", "magic04": "h"}
LIBSVM = {"heart_scale": "1", "german.numer_scale": "1", "agaricus.train": "1", "a9a": "1"}


def design(rows, train):
    """Numbers, and one-hot categories, of comma-separated rows without their last cell; standardized on `train`."""
    columns = []
    for cells in zip(*[row.split(",")[:-1] for row in rows]):
        try:
            columns.append(np.array(cells, float)[:, None])
        except ValueError:
            levels = sorted(set(np.array(cells)[train]))
            columns.append(np.array([[cell == level for level in levels] for cell in cells], float))
    return standardized(np.hstack(columns), train)


def design_libsvm(rows, train):
    entries = [[pair.split(":") for pair in row.split()[1:]] for row in rows]
    x = np.zeros((len(rows), max(int(i) for row in entries for i, _ in row)))
    for row, pairs in enumerate(entries):
        for index, value in pairs:
            x[row, int(index) - 1] = float(value)
    return standardized(x, train)


def standardized(x, train):
    deviation = x[train].std(0)
    keep = deviation > 0
    return (x[:, keep] - x[train][:, keep].mean(0)) / deviation[keep]


def main():
    program, data = sys.argv[1], pathlib.Path(sys.argv[2])
    encoders = sys.argv[3].split(",") if len(sys.argv) > 3 else ["linear", "mlp"]
    chosen = sys.argv[4].split(",") if len(sys.argv) > 4 else [*TABLES, *LIBSVM]
    for name in chosen:
        table = name in TABLES
        path = data / ("tabular" if table else "libsvm") / (name + (".csv.gz" if table else ".gz"))
        rows = gzip.open(path, "rt").read().splitlines()
        label = [row.split(",")[-1] if table else row.split()[0].lstrip("+") for row in rows]
        y = np.array([value == (TABLES | LIBSVM)[name] for value in label], int)
        scores = {encoder: [] for encoder in encoders}
        reference, seconds = [], {encoder: [] for encoder in encoders}
        cut = StratifiedShuffleSplit(SPLITS, test_size=0.3, random_state=0)
        for split, (train, test) in enumerate(cut.split(np.zeros(len(y)), y)):
            x = (design if table else design_libsvm)(rows, train)
            cs = (1,) if name == "a9a" else (.01, .1, 1, 10, 100)
            fits = {c: LogisticRegression(C=c, max_iter=5000).fit(x[train], y[train]) for c in cs}
            aucs = {c: roc_auc_score(y[test], fit.decision_function(x[test])) for c, fit in fits.items()}
            reference.append((aucs[1], max(aucs.values())))
            with tempfile.TemporaryDirectory() as folder:
                suffix = ".csv" if table else ".libsvm"
                for part, picked in ("train", train), ("test", test):
                    pathlib.Path(folder, part + suffix).write_text("".join(rows[i] + "\n" for i in picked))
                for encoder in encoders:
                    out = f"{folder}/{encoder}"
                    command = [program, "auc", "--train", f"{folder}/train{suffix}", "--test", f"{folder}/test{suffix}",
                               "--positive", (TABLES | LIBSVM)[name], "--encoder", encoder, "--seed", str(split),
                               "--out", out, "--quiet", "--json"]
                    if table:
                        command += ["--label", str(len(rows[0].split(","))), "--no-header"]
                    summary = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
                    scores[encoder].append(summary["metrics"]["test"]["auc"])
                    seconds[encoder].append(summary["seconds"])
        reference = np.array(reference)
        for encoder in encoders:
            d = np.array(scores[encoder]) - reference[:, 0]
            print(f"{name:<22} {encoder:<7} AUC {np.mean(scores[encoder]):.4f}  LR {reference[:, 0].mean():.4f} "
                  f"(best C {reference[:, 1].mean():.4f})  difference {d.mean():+.4f} +- {d.std(ddof=1) / SPLITS ** .5:.4f}  "
                  f"{np.mean(seconds[encoder]):.1f} s", flush=True)


main()
