"""`bilevel auc` with sequence encoders on frozen word vectors, at the defaults of each encoder."""
import _text

TITLE = "AUC on text: sequence encoders on Sentiment140"
DEPENDS = ["benchmarks/results/_text.py", "bilevel/task/auc", "bilevel/task/job", "bilevel/problem", "bilevel/solver/adambo",
           "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model", "bilevel/report/metrics.cpp"]


def table(run):
    words = ["auc", *_text.sentiment140(run), "--embedding", run.data("glove/glove.6B.50d.subset.txt.gz")]
    lines = ["| encoder | test AUC (95 % interval) | logistic regression on n-grams |", "|---|---|---|"]
    for encoder in ("rnn", "gru", "transformer"):
        summary = run.bilevel([*words, "--encoder", encoder, "--seed", "100", "--out", encoder])
        low, high = summary["test_auc_interval"]
        lines.append(f"| `{encoder}` | {summary['metrics']['test']['auc']:.4f} ({low:.4f} to {high:.4f}) | "
                     f"{summary['baselines']['logistic_regression']['test_auc']:.4f} |")
    return "\n".join(lines)
