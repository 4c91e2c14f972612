"""The jobs as estimators of scikit-learn."""

import sys
import tempfile
import warnings
from pathlib import Path

try:
    import numpy
    from sklearn.datasets import load_breast_cancer
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

import bilevel


def many_classes(count: int, rows: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Rows of classes whose means differ in eight of 32 directions, under a larger nuisance in three others."""
    generator, fixed = numpy.random.default_rng(seed), numpy.random.default_rng(0)
    means, nuisance = fixed.normal(size=(8, 32)), 3 * fixed.normal(size=(3, 32))
    y = numpy.repeat(numpy.arange(count), rows)
    noise = generator.normal(size=(len(y), 3)) @ nuisance + 2 * generator.normal(size=(len(y), 32))
    return generator.normal(size=(count, 8))[y] @ means + noise, y


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

X_old, y_old = many_classes(40, 20, seed=1)
X_new, y_new = many_classes(5, 100, seed=2)
few = numpy.arange(500) % 100 < 5
X_few, y_few, X_new, y_new = X_new[few], y_new[few], X_new[~few], y_new[~few]
# [shown]
encoder = bilevel.FewShotClassifier(options={"baselines": "nearest-class-mean"}).fit(X_old, y_old)  # 40 classes
print(encoder.summary_["metrics"]["test"], encoder.verdict_)
adapted = encoder.adapt(X_few, y_few)  # new classes, by five rows of each
print(adapted.score(X_new, y_new))
# [shown]
assert encoder.verdict_ == {"nearest_class_mean": "better"} and adapted.score(X_new, y_new) > 0.8

hospitals = ["ours"] * 60 + ["near"] * 240 + ["mistaken"] * 150
numpy.random.default_rng(0).shuffle(y[300:])
# [shown]
mixer = bilevel.SourceMixer().fit(X, y, sources=hospitals, target="ours")  # a name for each row
print(mixer.weights_, mixer.intervals_)
# [shown]
print(mixer.score(X_checked, y_checked))
assert mixer.weights_["near"] > mixer.weights_["mistaken"]
