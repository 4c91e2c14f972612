"""cleanlab: label issues from cross-validated probabilities."""

import sys

try:
    from cleanlab.filter import find_label_issues
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)
import warnings

import numpy

import bilevel

warnings.simplefilter("ignore")
X, y = load_digits(return_X_y=True)
generator = numpy.random.default_rng(0)
wrong = generator.random(len(y)) < 0.2
labels = numpy.where(wrong, (y + generator.integers(1, 10, len(y))) % 10, y)

# [theirs]
probabilities = cross_val_predict(LogisticRegression(max_iter=1000), X / 16, labels, method="predict_proba", cv=5)
theirs = find_label_issues(labels, probabilities)
# [theirs]

# [ours]
cleaner = bilevel.LabelCleaner()
ours = cleaner.find_label_issues(X / 16, labels)["is_label_issue"]
# [ours]


def told(issues):
    """The share of wrong labels among the issues, and of issues among the wrong labels."""
    issues = numpy.asarray(issues)
    return wrong[issues].mean(), issues[wrong].mean()


for name, issues in (("there", theirs), ("here", ours)):
    precision, recall = told(issues)
    print(f"{name}: precision {precision:.3f}, recall {recall:.3f}")
    assert precision > 0.8 and recall > 0.8
