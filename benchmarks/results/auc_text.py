"""`bilevel auc` on text with the encoder bag, at its defaults, beside TF-IDF logistic regression."""
import json

import _text

TITLE = "AUC on text: `bag` at its defaults"
DEPENDS = ["benchmarks/results/_text.py", "bilevel/task/auc", "bilevel/task/job", "bilevel/problem", "bilevel/solver/adambo",
           "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model", "bilevel/report/metrics.cpp"]


def row(run, name, out, words):
    summary = run.bilevel([*words, "--out", out])
    options = json.loads((run.folder / out / "options.json").read_text())["options"]
    low, high = summary["test_auc_interval"]
    return (f"| {name} | **{summary['metrics']['test']['auc']:.4f}** ({low:.4f} to {high:.4f}) | "
            f"{summary['baselines']['logistic_regression']['test_auc']:.4f} | {_text.tfidf_reference(run, out, options):.4f} | "
            f"{summary['training_seconds']:.0f} s |")


def table(run):
    run.module("sklearn")
    rows = [row(run, "Sentiment140", "sentiment140", ["auc", *_text.sentiment140(run), "--seed", "100"]),
            row(run, "SMS spam", "sms", ["auc", *_text.sms(run), "--seed", "100"])]
    return "\n".join([
        "| rows | `bag`: test AUC (95 % interval) | logistic regression, same n-grams | TF-IDF reference | training, both passes |",
        "|---|---|---|---|---|", *rows])
