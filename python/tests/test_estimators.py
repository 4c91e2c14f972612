"""The jobs as estimators of scikit-learn."""

import csv
import json
import pickle
import subprocess
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

try:
    import numpy
    import scipy.sparse
    import sklearn
    from sklearn.datasets import load_breast_cancer, load_iris
    from sklearn.model_selection import cross_validate
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.estimator_checks import check_estimator
except ImportError as missing:
    if __name__ != "__main__":
        raise unittest.SkipTest(str(missing)) from None
    print(f"skipped: {missing}")
    sys.exit(77)

import bilevel
from bilevel import estimators
from bilevel.estimators import AUCClassifier, LabelCleaner, RegularizedClassifier

QUICK = {"encoder": "linear"}
SUBSETS = {"check_methods_subset_invariance": "scores are float32: those of one row and of several differ in the seventh digit"}
THRESHOLD = {"check_classifiers_train": "predict goes by the threshold of best F1, which need not be where the probability is 1/2"}


def made_by_the_program(folder, words, X, y):
    """The summary of a run on the same rows."""
    train = Path(folder, "train.csv")
    with open(train, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"x{j}" for j in range(X.shape[1])] + ["label"])
        writer.writerows([*row, label] for row, label in zip(X.tolist(), y.tolist()))
    columns = ",".join(f"x{j}" for j in range(X.shape[1]))
    command = [estimators._PROGRAM, words[0], "--train", train, "--label", "label", "--numeric", columns, "--threads", "1", *words[1:]]
    subprocess.run([*map(str, command), "--out", str(Path(folder, "out")), "--quiet"], check=True, capture_output=True)
    return json.loads(Path(folder, "out", "summary.json").read_text())


class Estimators(unittest.TestCase):
    def setUp(self):
        warnings.simplefilter("ignore")
        self.X, self.y = load_breast_cancer(return_X_y=True)

    def conforms(self, estimator, expected):
        failed = [
            f"{one['check_name']}: {one['exception']}"
            for one in check_estimator(estimator, on_fail=None, on_skip=None, expected_failed_checks=expected)
            if one["status"] == "failed"
        ]
        self.assertEqual(failed, [])

    def test_auc_conforms(self):
        self.conforms(AUCClassifier(options=QUICK), SUBSETS | THRESHOLD)

    def test_clean_conforms(self):
        self.conforms(LabelCleaner(options={"baselines": False}), SUBSETS)

    def test_tune_conforms(self):
        self.conforms(RegularizedClassifier(options={"baseline_passes": 0, "steps": 3}), SUBSETS)

    def test_figures_are_those_of_the_command_line(self):
        for estimator, words in (
            (AUCClassifier(options=QUICK, seed=3), ["auc", "--encoder", "linear", "--positive", "1", "--seed", "3"]),
            (RegularizedClassifier(options={"baseline_passes": 0}, seed=3), ["tune", "--baseline-passes", "0", "--seed", "3"]),
            (LabelCleaner(options={"baselines": False}, seed=3), ["clean", "--no-baselines", "--seed", "3"]),
        ):
            with self.subTest(words[0]), tempfile.TemporaryDirectory() as folder:
                expected = made_by_the_program(folder, words, self.X, self.y)
                found = estimator.fit(self.X, self.y).summary_
                self.assertEqual(found["metrics"], expected["metrics"])
                self.assertEqual(found["calibration"], expected["calibration"])
                if words[0] == "auc":
                    self.assertEqual(found["verdict"], expected["verdict"])
                    self.assertEqual(estimator.verdict_, expected["verdict"])

    def test_a_pipeline_is_cross_validated(self):
        pipeline = make_pipeline(StandardScaler(), RegularizedClassifier(options={"baseline_passes": 0}))
        scores = cross_validate(pipeline, self.X, self.y, cv=3, scoring=("accuracy", "neg_log_loss", "roc_auc"))
        self.assertGreater(scores["test_accuracy"].mean(), 0.93)
        self.assertGreater(scores["test_roc_auc"].mean(), 0.97)
        self.assertGreater(scores["test_neg_log_loss"].mean(), -0.2)

    def test_wrong_labels_are_found(self):
        wrong = numpy.arange(len(self.y)) % 8 == 0
        given = numpy.where(wrong, 1 - self.y, self.y)
        cleaner = LabelCleaner(options={"baselines": False})
        issues = cleaner.find_label_issues(self.X[:469], given[:469], trusted=(self.X[469:], self.y[469:]))
        found = numpy.asarray(issues["is_label_issue"])
        self.assertGreater(found[wrong[:469]].mean(), 0.8)
        self.assertLess(found[~wrong[:469]].mean(), 0.05)
        self.assertTrue((numpy.asarray(issues["given_label"]) == given[:469]).all())
        self.assertGreater((cleaner.suggested_ == self.y[:469]).mean(), 0.93)
        self.assertGreater(cleaner.weights_[~wrong[:469]].mean(), cleaner.weights_[wrong[:469]].mean() + 0.5)

    def test_texts(self):
        texts = [f"w{i % 7} good\tday" if i % 2 else f'w{i % 5} "bad"\nnight' for i in range(90)]
        labels = ["yes" if i % 2 else "no" for i in range(90)]
        for make in (AUCClassifier, RegularizedClassifier, LabelCleaner):
            with self.subTest(make.__name__):
                estimator = make().fit(texts, labels)
                self.assertEqual(estimator.predict(["good day", "bad night"]).tolist(), ["yes", "no"])

    def test_tables_keep_names_and_categories(self):
        try:
            import pandas
        except ImportError:
            self.skipTest("no pandas")
        X, y = load_iris(return_X_y=True)
        table = pandas.DataFrame({"a, b": X[:, 0], "kind": numpy.where(X[:, 2] > 4, "long", "short"), "label": X[:, 1]})
        estimator = RegularizedClassifier(options={"baseline_passes": 0}).fit(table, y)
        self.assertEqual(estimator.feature_names_in_.tolist(), ["a, b", "kind", "label"])
        self.assertGreater(estimator.score(table, y), 0.6)
        self.assertTrue(any("kind" in name for name in estimator.strengths_))

    def test_sparse_rows_are_those_of_dense_ones(self):
        X = numpy.where(self.X > numpy.median(self.X, 0), 1.0, 0.0)
        dense = AUCClassifier(options=QUICK).fit(X, self.y)
        sparse = AUCClassifier(options=QUICK).fit(scipy.sparse.csr_matrix(X), self.y)
        self.assertAlmostEqual(dense.score(X, self.y), sparse.score(scipy.sparse.csr_matrix(X), self.y), delta=0.02)

    def test_sparse_rows_have_any_labels(self):
        names = numpy.where(self.y == 1, "is benign", "is not")
        rows = scipy.sparse.csr_matrix(self.X)
        for estimator in (
            AUCClassifier(options=QUICK),
            RegularizedClassifier(options={"baseline_passes": 0}),
            LabelCleaner(options={"baselines": False}),
        ):
            with self.subTest(type(estimator).__name__):
                self.assertGreater(estimator.fit(rows, names).score(rows, names), 0.9)

    def test_pickles_and_clones(self):
        fitted = AUCClassifier(options=QUICK, seed=5).fit(self.X, self.y)
        again = pickle.loads(pickle.dumps(fitted))
        self.assertTrue((again.decision_function(self.X) == fitted.decision_function(self.X)).all())
        self.assertEqual(sklearn.base.clone(fitted).get_params(), fitted.get_params())
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "report.html")
            fitted.report(page)
            self.assertIn("<html", page.read_text())

    def test_mistakes_are_told(self):
        with self.assertRaisesRegex(bilevel.InputError, "encoder"):
            AUCClassifier(options={"encoder": "nonsense"}).fit(self.X, self.y)
        with self.assertRaisesRegex(bilevel.InputError, "wishes"):
            AUCClassifier(options={"wishes": 3}).fit(self.X, self.y)
        with self.assertRaisesRegex(ValueError, "one class"):
            AUCClassifier().fit(self.X, numpy.ones(len(self.X)))


if __name__ == "__main__":
    unittest.main()
