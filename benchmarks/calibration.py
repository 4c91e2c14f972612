#!/usr/bin/env python3
"""How well the probabilities that `auc`, `clean` and `tune` write for test rows are calibrated.

Five data sets of ../shared/data, each cut by this script into training, (trusted,) and test rows with a fixed seed where it has no test
file of its own; validation rows are the job's own cut. For each job and set: the expected calibration error of the predicted class's
probability (of `auc` the positive class's) in 15 bins of equally many rows, beside the 95 % quantile of the same error when labels are drawn
by the very probabilities (300 draws), the slope of a logistic regression of the outcome on the logit, and its 95 % interval.

  benchmarks/calibration.py --program build/bilevel --data ../shared/data --folder /tmp/calibration

Needs numpy."""

import argparse
import csv
import gzip
import json
import os
import pathlib
import subprocess

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"
# path of training rows, of test rows (None: cut), has a header, extension, columns, label, positive class, most training rows
SETS = {
    "a9a": ("libsvm/a9a.gz", "libsvm/a9a.t.gz", False, "libsvm", [], "1", 40_000),
    "magic04": ("tabular/magic04.csv.gz", None, False, "csv", ["--label", "11"], "g", 40_000),
    "sst2": ("sentence/sst2_train.tsv.gz", "sentence/sst2_test.tsv.gz", True, "tsv", ["--text", "text", "--label", "label"], "1", 8_000),
    "sms": ("sms_spam/sms.tsv.gz", None, True, "tsv", ["--text", "text", "--label", "label"], "spam", 40_000),
    "ag_news": ("ag_news/test.tsv.gz", None, True, "tsv", ["--text", "text", "--label", "label"], "Business", 40_000),
}


def lines_of(path):
    with gzip.open(path, "rt") as file:
        return file.read().splitlines()


def make(name, data, folder):
    """Files of a set: train, trusted (400 rows that train lacks), test."""
    train, test, header, extension, *_, most = SETS[name]
    rows = lines_of(data / train)
    head, rows = (rows[:1], rows[1:]) if header else ([], rows)
    np.random.default_rng(7).shuffle(rows)
    if test is None:
        cut = len(rows) * 7 // 10
        rows, test_rows = rows[:cut], rows[cut:]
    else:
        test_rows = lines_of(data / test)[len(head):]
    files = {"train": rows[400:most], "trusted": rows[:400], "test": test_rows}
    for part, own in files.items():
        path = folder / f"{name}.{part}.{extension}"
        path.write_text("\n".join(head + own) + "\n")
        files[part] = str(path)
    return files


def expected_error(p, hit, bins=15):
    order = np.argsort(p, kind="stable")
    return sum(abs(p[part].sum() - hit[part].sum()) for part in np.array_split(order, bins)) / len(p)


def slope_of(p, hit):
    """Slope and its standard error."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    x = np.c_[np.log(p / (1 - p)), np.ones_like(p)]
    w = np.array([1.0, 0.0])
    for _ in range(100):
        q = 1 / (1 + np.exp(-x @ w))
        hessian = (x * (q * (1 - q))[:, None]).T @ x
        step = np.linalg.solve(hessian, x.T @ (q - hit))
        w = w - step
        if np.abs(step).max() < 1e-10:
            break
    return w[0], np.sqrt(np.linalg.inv(hessian)[0, 0])


def measured(p, hit, random):
    drawn = [expected_error(p, (random.random(len(p)) < p).astype(float)) for _ in range(300)]
    slope, error = slope_of(p, hit)
    return {"rows": len(p), "ece": round(expected_error(p, hit), 4), "ece_95": round(float(np.quantile(drawn, 0.95)), 4),
            "slope": round(slope, 3), "slope_interval": [round(slope - 1.96 * error, 3), round(slope + 1.96 * error, 3)]}


def outcome(path, job, positive):
    with open(path) as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [c for c in rows[0] if c.startswith("p(")]
    p = np.array([[float(row[c]) for c in columns] for row in rows])
    if job == "auc":
        return p[:, 0], np.array([float(row["label"] == positive) for row in rows])
    names = [c[2:-1] for c in columns]
    top = p.argmax(1)
    return p.max(1), np.array([float(names[k] == row["label"]) for k, row in zip(top, rows)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/bilevel")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--jobs", nargs="+", default=["auc", "tune", "clean"])
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    a = parser.parse_args()
    folder = pathlib.Path(a.folder)
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name in a.sets:
        files = make(name, pathlib.Path(a.data), folder)
        columns, positive = SETS[name][4], SETS[name][5]
        for job in a.jobs:
            out = folder / f"{name}.{job}"
            subprocess.run(["rm", "-rf", str(out)], check=True)
            own = {"auc": ["--positive", positive], "tune": ["--baseline-passes", "0"],
                   "clean": ["--trusted", files["trusted"], "--inject-noise", "0.2", "--no-baselines"]}[job]
            subprocess.run([a.program, job, "--train", files["train"], "--test", files["test"], *columns, *own, "--threads", "1",
                            "--out", str(out), "--json"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            p, hit = outcome(out / "predictions.tsv", job, positive)
            print(json.dumps({"set": name, "job": job, **measured(p, hit, random)}), flush=True)


if __name__ == "__main__":
    main()
