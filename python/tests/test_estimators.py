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
    from sklearn.model_selection import PredefinedSplit, cross_validate
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator
except ImportError as missing:
    if __name__ != "__main__":
        raise unittest.SkipTest(str(missing)) from None
    print(f"skipped: {missing}")
    sys.exit(77)

import bilevel
from bilevel.estimators import AUCClassifier, FewShotClassifier, LabelCleaner, RegularizedClassifier, SourceMixer
from bilevel.estimators._files import PROGRAM

QUICK = {"encoder": "linear"}
SUBSETS = {"check_methods_subset_invariance": "scores are float32: those of one row and of several differ in the seventh digit"}
THRESHOLD = {"check_classifiers_train": "predict goes by the threshold of best F1, which need not be where the probability is 1/2"}


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def made_by_the_program(folder, words, X, y):
    """The summary of a run on the same rows."""
    names = [f"x{j}" for j in range(X.shape[1])]
    train = write(Path(folder, "train.csv"), [*names, "label"], [[*row, label] for row, label in zip(X.tolist(), y.tolist())])
    return summary_of(folder, [words[0], "--train", train, "--numeric", ",".join(names), *words[1:]])


def summary_of(folder, words):
    out = Path(folder, "out")
    command = [PROGRAM, *words, "--label", "label", "--threads", "1", "--out", out, "--quiet"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return json.loads((out / "summary.json").read_text())


def many_classes(classes, rows, seed):
    """Rows of classes whose means lie in four of six dimensions, and their numbers."""
    generator = numpy.random.default_rng(seed)
    mixing = numpy.random.default_rng(9).normal(size=(4, 6))
    y = numpy.repeat(numpy.arange(classes), rows)
    return generator.normal(size=(classes, 4))[y] @ mixing + 0.5 * generator.normal(size=(len(y), 6)), y


def sources(rows=80):
    """Rows of four sources: "like" labels as "mine" does, "other" by another rule, "noise" by none."""
    generator = numpy.random.default_rng(0)
    X, names = generator.normal(size=(4 * rows, 5)), numpy.repeat(["mine", "like", "noise", "other"], rows)
    rules = {"mine": [1, 1, 0, 0, 0], "like": [1, 1, 0, 0, 0], "noise": [0] * 5, "other": [-1, 0, 1, 0, 0]}
    scores = (X * [rules[name] for name in names]).sum(1) + 0.5 * generator.normal(size=len(X))
    return X, numpy.where(scores > 0, "yes", "no"), names


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

    def test_tables_are_read_as_files_are(self):
        try:
            import pandas
        except ImportError:
            self.skipTest("no pandas")
        generator = numpy.random.default_rng(3)
        days = generator.integers(0, 900, 240)
        y = (days + 100 * generator.normal(size=240) > 450).astype(int)
        table = pandas.DataFrame({"x": generator.normal(size=240), "shop": numpy.arange(240) % 24})
        table["when"] = pandas.Timestamp("2020-01-01") + pandas.to_timedelta(days, unit="D")
        table["size"] = pandas.array([1, None, 3] * 80, dtype="Int64")
        table["note"] = pandas.array(["p", pandas.NA, "q"] * 80, dtype="string")

        def uses(**options):
            columns = AUCClassifier(options=QUICK | {"steps": 5} | options).fit(table, y).summary_["columns"]
            return {one["name"]: (one["kind"], one["use"]) for one in columns}

        found = uses()
        self.assertEqual(found["when"], ("date", "feature"))
        self.assertEqual(found["size"], ("number", "feature"))
        self.assertEqual(found["note"], ("category", "feature"))
        self.assertEqual(uses(group="shop", drop="note")["shop"][1], "other")
        self.assertEqual([name for name, (_, use) in uses(features="x,when").items() if use == "feature"], ["x", "when"])
        self.assertEqual(uses(categorical="shop")["shop"][0], "category")

    def test_labels_are_any_text(self):
        X, options = self.X[:200], {"baseline_passes": 0, "steps": 3}
        for names in (["a\tb", "c"], ["a\nb", '"c"'], [" lead", "x"], ["Yes", "yes"], ["1.50", "2"], ["01", "1"]):
            y = numpy.array(names)[self.y[:200]]
            with self.subTest(names):
                fitted = RegularizedClassifier(options=options).fit(X, y)
                self.assertGreater(fitted.score(X, y), 0.8)
                self.assertLess(abs(fitted.predict_proba(X).sum(1) - 1).max(), 1e-6)
        self.assertEqual(set(LabelCleaner(options={"baselines": False}).fit(X, y).suggested_), set(y))
        for names in (["1", "1.0"], ["a", "a "]):
            with self.subTest(names), self.assertRaisesRegex(bilevel.InputError, "are one to the program"):
                RegularizedClassifier(options=options).fit(X, numpy.array(names)[self.y[:200]])

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
        with self.assertRaisesRegex(bilevel.InputError, "min_rows: rows, classes and files are those of X and y"):
            AUCClassifier(options={"min_rows": 5}).fit(self.X, self.y)
        with self.assertRaisesRegex(bilevel.InputError, r"X\[1\] is None, and no text"):
            AUCClassifier().fit(["a b", None], [0, 1])

# Checks of scikit-learn that see what these two do apart from what all estimators share, which the three above are checked for.
CHECKS = {
    "check_estimators_unfitted", "check_estimators_pickle", "check_classifiers_train", "check_supervised_y_2d", "check_fit2d_1sample",
    "check_dict_unchanged", "check_fit_idempotent", "check_n_features_in",
}  # fmt: skip


class OfDomains(FewShotClassifier):
    """Deals the rows of each class into three domains."""

    def fit(self, X, y):
        seen, domains = {}, []
        for label in [] if y is None else numpy.asarray(y).ravel().tolist():
            seen[label] = seen.get(label, -1) + 1
            domains.append(seen[label] % 3)
        return super().fit(X, y, domains=domains)


class Halves(SourceMixer):
    """Every other row is of the target."""

    def fit(self, X, y):
        return super().fit(X, y, sources=numpy.arange(0 if y is None else len(y)) % 2, target=0)


class MoreThanRowsAndLabels(unittest.TestCase):
    """What estimators share that are fitted to more than X and y."""

    def setUp(self):
        warnings.simplefilter("ignore")

    def conforms(self, estimator):
        made = set()
        for one, check in estimator_checks_generator(estimator):
            if check.func.__name__ in CHECKS:
                with self.subTest(check.func.__name__):
                    check(one)
                    made.add(check.func.__name__)
        self.assertEqual(made, CHECKS)


class FewShot(MoreThanRowsAndLabels):
    QUICK = {"ways": 2, "shots": 2, "queries": 3, "steps": 20, "baselines": "none", "test_episodes": 50, "valid_episodes": 20}

    @classmethod
    def setUpClass(cls):
        cls.X, cls.y = many_classes(12, 14, seed=0)
        cls.fitted = FewShotClassifier(options=cls.QUICK, seed=3).fit(cls.X, cls.y)
        X, y = many_classes(3, 20, seed=1)
        few = numpy.arange(60) % 20 < 5
        names = numpy.array(["a", "b", "c"])[y]
        cls.few, cls.others = (X[few], names[few]), (X[~few], names[~few])

    def test_new_classes_by_five_rows_each(self):
        new = self.fitted.adapt(*self.few)
        self.assertEqual(new.classes_.tolist(), ["a", "b", "c"])
        self.assertGreater(new.score(*self.others), 0.85)
        probabilities = new.predict_proba(self.others[0])
        self.assertTrue(numpy.allclose(probabilities.sum(1), 1))
        again = pickle.loads(pickle.dumps(new))
        self.assertTrue((again.predict_proba(self.others[0]) == probabilities).all())
        self.assertEqual(self.fitted.classes_.tolist(), list(range(12)), "this one stays as it is")
        self.assertGreater(self.fitted.score(self.X, self.y), 0.5)

    def test_figures_are_those_of_the_command_line(self):
        header = [f"x{j}" for j in range(6)]
        with tempfile.TemporaryDirectory() as folder:
            data = write(Path(folder, "data.csv"), [*header, "label"], [[*x, c] for x, c in zip(self.X.tolist(), self.y.tolist())])
            shots = write(Path(folder, "shots.csv"), [*header, "label"], [[*x, c] for x, c in zip(self.few[0].tolist(), self.few[1])])
            rows, out = write(Path(folder, "rows.csv"), header, self.others[0].tolist()), Path(folder, "out.tsv")
            given = [word for name, value in self.QUICK.items() for word in ("--" + name.replace("_", "-"), value)]
            expected = summary_of(folder, ["meta", "--data", data, "--numeric", ",".join(header), "--seed", 3, *given])
            found = self.fitted.summary_
            self.assertEqual(found["metrics"], expected["metrics"])
            self.assertEqual(found["parts"], expected["parts"])
            words = ["predict", "--model", Path(folder, "out"), "--shots", shots, "--input", rows, "--out", out]
            subprocess.run([PROGRAM, *map(str, words)], check=True, capture_output=True)
            predicted = [line.split("\t")[1] for line in out.read_text().splitlines()[1:]]
        self.assertEqual(self.fitted.adapt(*self.few).predict(self.others[0]).tolist(), predicted)

    def test_a_task_may_be_a_domain(self):
        domains = [f"shop {i % 6}" for i in range(len(self.y))]
        options = self.QUICK | {"head": "shared", "ways": None}
        shared = FewShotClassifier(options=options).fit(self.X, self.y % 2, domains=domains)
        self.assertEqual(sorted(sum(shared.summary_["parts"].values(), [])), sorted(set(domains)))
        self.assertGreater(shared.adapt(self.X, self.y % 2).score(self.X, self.y % 2), 0.7)
        with self.assertRaisesRegex(bilevel.InputError, "no class of the model"):
            shared.adapt(*self.few).predict(self.X)
        with self.assertRaisesRegex(ValueError, "inconsistent"):
            FewShotClassifier(options=options).fit(self.X, self.y % 2, domains=domains[1:])

    def test_texts(self):
        texts = [f"w{9 * c + i % 7} w{9 * c + i % 5} and so on" for c in range(9) for i in range(8)]
        encoder = FewShotClassifier(options=self.QUICK).fit(texts, [f"topic {i // 8}" for i in range(72)])
        new = encoder.adapt(["w1 w2", "w3 w4", "w46 w47", "w48 w49"], ["low", "low", "high", "high"])
        self.assertEqual(new.predict(["w2 w3", "w47 w48"]).tolist(), ["low", "high"])

    def test_sparse_rows_are_those_of_dense_ones(self):
        fitted = FewShotClassifier(options=self.QUICK, seed=3).fit(scipy.sparse.csr_matrix(self.X), self.y)
        self.assertEqual(fitted.summary_["metrics"], self.fitted.summary_["metrics"])
        for make in (scipy.sparse.csr_matrix, numpy.asarray):
            new = fitted.adapt(make(self.few[0]), self.few[1])
            self.assertGreater(new.score(make(self.others[0]), self.others[1]), 0.85)

    def test_conforms(self):
        quick = {"shots": 1, "queries": 1, "steps": 2, "baselines": "none", "test_episodes": 2, "valid_episodes": 2}
        self.conforms(OfDomains(options=quick))

    def test_mistakes_are_told(self):
        with self.assertRaisesRegex(bilevel.InputError, "queries = 10: .*of each class"):
            FewShotClassifier().fit(self.X, self.y)
        with self.assertRaisesRegex(bilevel.InputError, "has no named columns, so no domain"):
            FewShotClassifier(options=self.QUICK).fit(scipy.sparse.csr_matrix(self.X), self.y, domains=self.y % 3)
        with self.assertRaisesRegex(ValueError, "one class"):
            self.fitted.adapt(self.few[0][:3], self.few[1][:3])
        with self.assertRaisesRegex(ValueError, "features"):
            self.fitted.adapt(self.few[0][:, :3], self.few[1])
        with self.assertRaises(sklearn.exceptions.NotFittedError):
            FewShotClassifier().adapt(*self.few)


class Mixing(MoreThanRowsAndLabels):
    QUICK = {"baselines": False, "leave_out": False, "intervals": False}

    def setUp(self):
        super().setUp()
        self.X, self.y, self.names = sources()
        self.mine = self.names == "mine"

    def test_weights_tell_which_source_helps(self):
        mixer = SourceMixer(options={"leave_out": False}).fit(self.X, self.y, sources=self.names, target="mine")
        self.assertEqual(set(mixer.weights_), {"mine", "like", "noise", "other"})
        self.assertAlmostEqual(sum(mixer.weights_.values()), 1)
        self.assertGreater(mixer.weights_["like"], 5 * max(mixer.weights_["noise"], mixer.weights_["other"]))
        for name, (low, high) in mixer.intervals_.items():
            self.assertTrue(low <= mixer.weights_[name] <= high, name)
        self.assertEqual(mixer.verdict_["uniform"], "better")
        self.assertGreater(mixer.score(self.X[self.mine], self.y[self.mine]), 0.8)
        again = pickle.loads(pickle.dumps(mixer))
        self.assertTrue((again.predict_proba(self.X) == mixer.predict_proba(self.X)).all())
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder, "report.html")
            mixer.report(page)
            self.assertIn("noise", page.read_text())

    def test_figures_are_those_of_the_command_line(self):
        header, rows = [f"x{j}" for j in range(5)], list(zip(self.X.tolist(), self.y.tolist(), self.names.tolist()))
        with tempfile.TemporaryDirectory() as folder:
            target = write(Path(folder, "t.csv"), [*header, "label"], [[*x, c] for x, c, name in rows if name == "mine"])
            more = write(Path(folder, "s.csv"), [*header, "label", "from"], [[*x, c, s] for x, c, s in rows if s != "mine"])
            words = ["mix", "--target", target, "--sources", more, "--source", "from", "--numeric", ",".join(header), "--seed", 3]
            expected = summary_of(folder, [*words, "--no-leave-out"])
        mixer = SourceMixer(options={"leave_out": False}, seed=3).fit(self.X, self.y, sources=self.names, target="mine")
        for key in ("metrics", "sources", "verdict", "calibration", "strength"):
            self.assertEqual(mixer.summary_[key], expected[key])

    def test_names_of_sources_stay_as_they_are(self):
        years = 2020 + numpy.unique(self.names, return_inverse=True)[1]
        expected = SourceMixer(options=self.QUICK).fit(self.X, self.y, sources=self.names, target="mine")
        for X in (self.X, scipy.sparse.csr_matrix(self.X)):
            found = SourceMixer(options=self.QUICK).fit(X, self.y, sources=years, target=2021)
            self.assertEqual(set(found.weights_), {2020, 2021, 2022, 2023})
            for year, name in zip([2020, 2021, 2022, 2023], ["like", "mine", "noise", "other"]):
                self.assertAlmostEqual(found.weights_[year], expected.weights_[name], delta=1e-5)
            self.assertEqual(found.intervals_[2020], None)
        odd = {"mine": "ours", "like": " a/b\t", "noise": "target", "other": "(mine)"}
        for X in (self.X, scipy.sparse.csr_matrix(self.X)):
            found = SourceMixer(options=self.QUICK).fit(X, self.y, sources=[odd[name] for name in self.names], target="ours")
            for name, weight in expected.weights_.items():
                self.assertAlmostEqual(found.weights_[odd[name]], weight, delta=1e-5)

    def test_tables_and_texts(self):
        try:
            import pandas
        except ImportError:
            self.skipTest("no pandas")
        table = pandas.DataFrame(self.X, columns=["label", "source", "a", "b", "c"])
        mixer = SourceMixer(options=self.QUICK).fit(table, self.y, sources=pandas.Series(self.names), target="mine")
        self.assertGreater(mixer.score(table[self.mine], self.y[self.mine]), 0.8)
        texts = [f"good w{i % 7}" if label == "yes" else f"bad w{i % 5}" for i, label in enumerate(self.y)]
        mixer = SourceMixer(options=self.QUICK).fit(texts, self.y, sources=self.names, target="mine")
        self.assertEqual(mixer.predict(["good day", "bad night"]).tolist(), ["yes", "no"])

    def test_a_pipeline_is_cross_validated_on_rows_of_the_target(self):
        pipeline = make_pipeline(StandardScaler(), sklearn.base.clone(SourceMixer(options=self.QUICK)))
        folds = numpy.where(self.mine, numpy.arange(len(self.y)) % 2, -1)  # -1: never tested
        given = {"sourcemixer__sources": self.names, "sourcemixer__target": "mine"}
        scores = cross_validate(pipeline, self.X, self.y, cv=PredefinedSplit(folds), params=given)
        self.assertEqual(len(scores["test_score"]), 2)
        self.assertGreater(scores["test_score"].mean(), 0.8)

    def test_conforms(self):
        self.conforms(Halves(options=self.QUICK | {"steps": 3}))

    def test_mistakes_are_told(self):
        mixer = SourceMixer(options=self.QUICK)
        with self.assertRaisesRegex(bilevel.InputError, "target = 'none': .*'like', 'mine'"):
            mixer.fit(self.X, self.y, sources=self.names, target="none")
        with self.assertRaisesRegex(bilevel.InputError, "target = 'mine': must be one of several sources"):
            mixer.fit(self.X, self.y, sources=["mine"] * len(self.y), target="mine")
        with self.assertRaisesRegex(bilevel.InputError, "two sources have one name"):
            mixer.fit(self.X, self.y, sources=numpy.where(numpy.arange(len(self.y)) % 3 == 0, "other ", self.names), target="mine")
        with self.assertRaisesRegex(ValueError, "inconsistent"):
            mixer.fit(self.X, self.y, sources=self.names[1:], target="mine")
        with self.assertRaisesRegex(bilevel.InputError, "every row must name one"):
            mixer.fit(self.X, self.y, sources=numpy.where(self.names == "other", "", self.names), target="mine")


if __name__ == "__main__":
    unittest.main()
