"""The jobs as estimators of scikit-learn."""

import sys
import tempfile
import warnings
from pathlib import Path

try:
    from sklearn.datasets import load_breast_cancer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import bilevel

warnings.simplefilter("ignore")
rows, labels = load_breast_cancer(return_X_y=True)
X, y, X_checked, y_checked = rows[:450], labels[:450], rows[450:], labels[450:]
with tempfile.TemporaryDirectory() as folder:
    # [shown]
    model = bilevel.AUCClassifier(options={"budget": 5}).fit(X, y)
    print(model.verdict_)  # {'logistic_regression': 'not_told_apart', ...}
    model.report(Path(folder, "report.html"))
    issues = bilevel.LabelCleaner().find_label_issues(X, y, trusted=(X_checked, y_checked))
    # [shown]
    assert Path(folder, "report.html").stat().st_size > 10_000
print(sum(issues["is_label_issue"]), "of", len(y), "labels are suspicious")
assert model.score(X_checked, y_checked) > 0.9
