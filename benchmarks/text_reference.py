#!/usr/bin/env python3
"""Test AUC of TF-IDF (words, 1- and 2-grams) logistic regression on the rows of a finished `bilevel auc` run on text.

The C in {.01, .1, 1, 10, 100} that is best on the test rows, which flatters it. Test rows are those of the run's
predictions.tsv; all other rows of the training file train.

    python benchmarks/text_reference.py RUN_FOLDER

Needs scikit-learn.
"""
import csv
import gzip
import json
import pathlib
import sys

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score


def rows(path, options):
    opened = gzip.open if path.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        for line, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=2):
            yield line, row[options["text"]], row[options["label"]] == options["positive"]


def main():
    run = pathlib.Path(sys.argv[1])
    options = json.loads((run / "options.json").read_text())["options"]
    test = {(row.split("\t")[0], int(row.split("\t")[1])) for row in (run / "predictions.tsv").read_text().splitlines()[1:]}
    parts = {True: ([], []), False: ([], [])}
    for path in filter(None, (options["train"], options["test"])):
        for line, text, positive in rows(path, options):
            texts, labels = parts[(path, line) in test]
            texts.append(text)
            labels.append(positive)
    words = TfidfVectorizer(ngram_range=(1, 2))
    train_x, test_x = words.fit_transform(parts[False][0]), words.transform(parts[True][0])
    for c in (.01, .1, 1, 10, 100):
        fit = LogisticRegression(C=c, max_iter=2000).fit(train_x, parts[False][1])
        print(f"C {c:g}: test AUC {roc_auc_score(parts[True][1], fit.decision_function(test_x)):.4f}")


main()
