"""The program's jobs as estimators of scikit-learn: ``AUCClassifier``, ``LabelCleaner``, ``RegularizedClassifier``.

Each runs its job by the program in this package, on files that it makes of X and y, so that the same rows, options and seed give the
figures of the command line. Needs scikit-learn.
"""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from . import _core
from ._table import table

__all__ = ["AUCClassifier", "LabelCleaner", "RegularizedClassifier"]

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bilevel")


def _call(words: Sequence[str]) -> None:
    """Runs the program; its warnings become Python's, its errors InputError, FileError or Error."""
    done = subprocess.run([_PROGRAM, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    told = [line for line in done.stderr.splitlines() if line]
    for line in told:
        if line.startswith("warning: "):
            warnings.warn(line.removeprefix("warning: "), stacklevel=4)
    if done.returncode == 0:
        return
    message = " ".join(line.removeprefix("bilevel: ") for line in told if not line.startswith("warning: "))
    kinds = {2: _core.InputError, 4: _core.FileError}
    raise kinds.get(done.returncode, _core.Error)(message or f"the program ended with {done.returncode}")


def _read(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


# ---- X ----


class _Rows:
    """X as columns: texts, a table, or numbers, sparse ones as they are."""

    def __init__(self, X: Any):
        self.names: list[str] | None = None  # of a table's columns, as they are given
        self.kind, self.sparse = "numbers", None
        if hasattr(X, "columns") and hasattr(X, "shape"):  # pandas, polars
            self.kind = "table"
            self.names = [str(name) for name in X.columns]
            self.columns = [_cells(X[name]) for name in X.columns]
            self.numeric = [_is_numeric(column) for column in self.columns]
            self.count = int(X.shape[0])
            return
        flat = isinstance(X, (list, tuple)) or getattr(X, "ndim", 2) == 1
        if flat and len(X) > 0 and all(isinstance(text, str) for text in X):
            self.kind, self.columns, self.count = "texts", [list(X)], len(X)
            return
        X = check_array(X, accept_sparse="csr", dtype="numeric", ensure_all_finite="allow-nan", estimator="bilevel")
        self.count, width = X.shape
        if hasattr(X, "indptr"):
            self.kind, self.sparse = "sparse", X
            self.columns = [[]] * width
        else:
            self.columns = [[_number(v) for v in column] for column in X.T.tolist()]

    @property
    def width(self) -> int:
        return len(self.columns)

    def header(self) -> list[str]:
        if self.kind == "texts":
            return ["text"]
        return self.names or [f"x{j}" for j in range(self.width)]

    def named(self) -> list[str]:
        """The columns' names as the program's lists take them."""
        return ['"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name for name in self.header()]

    def options(self) -> dict[str, Any]:
        """What the program is told of the columns, by its options' names."""
        if self.kind == "texts":
            return {"text": "text"}
        if self.kind == "sparse":
            return {}
        named, numeric = self.named(), self.numeric if self.kind == "table" else [True] * self.width
        told = {
            "numeric": ",".join(name for name, is_number in zip(named, numeric, strict=True) if is_number),
            "categorical": ",".join(name for name, is_number in zip(named, numeric, strict=True) if not is_number),
        }
        return {key: value for key, value in told.items() if value}

    def suffix(self) -> str:
        return {"texts": ".jsonl", "sparse": ".libsvm"}.get(self.kind, ".csv")

    def write(self, path: str, label: str, labels: Sequence[str] | None) -> None:
        with open(path, "w", encoding="utf-8", newline="") as file:
            if self.kind == "sparse":
                assert self.sparse is not None
                rows = self.sparse.sorted_indices()
                at, indices, values = rows.indptr.tolist(), rows.indices.tolist(), rows.data.tolist()
                for i in range(self.count):
                    entries = [f"{indices[k] + 1}:{values[k]!r}" for k in range(at[i], at[i + 1])]
                    file.write(" ".join([labels[i] if labels is not None else "0", *entries]) + "\n")
                return
            more = [] if labels is None else [labels]
            if self.kind == "texts":
                for cells in zip(*self.columns, *more, strict=True):
                    file.write(json.dumps(dict(zip(("text", label), cells, strict=False))) + "\n")
                return
            writer = csv.writer(file)
            writer.writerow(self.header() + [label] * len(more))
            writer.writerows(zip(*self.columns, *more, strict=True))


def _cells(column: Any) -> list[Any]:
    values = column.to_list() if hasattr(column, "to_list") else list(column)
    return [_number(v) if isinstance(v, (int, float)) else "" if v is None or v != v else str(v) for v in values]


def _is_numeric(cells: Iterable[Any]) -> bool:
    return all(isinstance(v, (int, float)) or v == "" for v in cells)


def _number(value: Any) -> Any:
    """A cell: empty for a missing value."""
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


# ---- estimators ----

# Of fitted estimators the folders that the program reads: no part of their state, since fits, copies and pickles bring the files.
_folders: "weakref.WeakKeyDictionary[_Job, tempfile.TemporaryDirectory[str]]" = weakref.WeakKeyDictionary()


class _Job(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A job of the program.

    options: of the job, by the names of the program's options with underscores ({"encoder": "linear", "max_seconds": 20}); what is not
        given is as on the command line. A wrong one raises InputError, with the program's sentence.
    seed: of all randomness. threads: of the numerical library.

    After ``fit``: ``classes_``, ``summary_`` (the object of the program's ``--json``), ``warnings`` by Python's module.
    """

    _job = ""

    def __init__(self, *, options: dict[str, Any] | None = None, seed: int = 0, threads: int = 1):
        self.options = options
        self.seed = seed
        self.threads = threads

    # -- scikit-learn's view --

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.input_tags.string = True
        return tags

    def _more_files(self, folder: str, **more: Any) -> dict[str, Any]:
        """Options of further files, which are written."""
        return {}

    def _job_options(self) -> dict[str, Any]:
        return {}

    def _labels(self, y: Any) -> list[str]:
        known = dict(zip(self.classes_.tolist(), self._spelled, strict=True))
        try:
            return [known[label] for label in numpy.asarray(y).tolist()]
        except KeyError as error:
            raise _core.InputError(f"label {error.args[0]!r}: fit saw {list(known)}") from None

    def _fit(self, X: Any, y: Any, **more: Any) -> _Job:
        rows = self._rows(X, fitting=True)
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        check_consistent_length(range(rows.count), y)
        check_classification_targets(y)
        self.classes_ = numpy.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes, but y has one class: {self.classes_[0]!r}")
        # LIBSVM files have numbers for labels.
        self._spelled = [str(i if rows.kind == "sparse" else c) for i, c in enumerate(self.classes_.tolist())]
        if len(set(self._spelled)) < len(self.classes_):
            raise _core.InputError("two classes are spelled alike")
        self._label = "label"
        while self._label in rows.header():
            self._label += "_"
        with tempfile.TemporaryDirectory() as folder:
            train, out, given = (os.path.join(folder, name) for name in ("train" + rows.suffix(), "out", "given.json"))
            rows.write(train, self._label, self._labels(y))
            options: dict[str, Any] = {"train": train, "seed": self.seed, "threads": self.threads, **rows.options()}
            if rows.kind != "sparse":
                options["label"] = self._label
            if rows.suffix() == ".csv":
                options["header"] = True
            options |= self._job_options() | self._more_files(folder, **more) | (self.options or {})
            with open(given, "w", encoding="utf-8") as file:
                json.dump({"command": self._job, "options": options}, file)
            _call([self._job, "--options", given, "--out", out, "--quiet"])
            self._files = {}
            for name in os.listdir(out):
                if name != "checkpoint.safetensors" and os.path.isfile(os.path.join(out, name)):
                    with open(os.path.join(out, name), "rb") as result:
                        self._files[name] = result.read()
            self._read_results(out)
        self.summary_ = json.loads(self._files["summary.json"])
        _folders.pop(self, None)
        return self

    def _read_results(self, out: str) -> None:
        """What else there is, from the folder of the run."""

    def _rows(self, X: Any, fitting: bool = False) -> _Rows:
        rows = _Rows(X)
        if fitting:
            self._kind, self._names = rows.kind, rows.names
            self.n_features_in_ = rows.width
            if rows.names is not None:
                self.feature_names_in_ = numpy.asarray(rows.names, dtype=object)
            return rows
        if rows.width != self.n_features_in_:
            raise ValueError(
                f"X has {rows.width} features, but {type(self).__name__} is expecting {self.n_features_in_} features as input"
            )
        if rows.names is None and self._names is not None:
            rows.names = self._names
        if (rows.kind == "sparse") != (self._kind == "sparse"):
            rows = _Rows(X.toarray() if rows.kind == "sparse" else _as_sparse(X))
        return rows

    # -- results --

    def _folder(self) -> str:
        """The run's folder, for as long as this object lives or is fitted again."""
        if self not in _folders:
            folder = tempfile.TemporaryDirectory(prefix="bilevel-")
            for name, content in self._files.items():
                with open(os.path.join(folder.name, name), "wb") as file:
                    file.write(content)
            _folders[self] = folder
        return _folders[self].name

    def _predicted(self, X: Any) -> list[dict[str, str]]:
        check_is_fitted(self)
        rows = self._rows(X)
        with tempfile.TemporaryDirectory() as folder:
            path, out = os.path.join(folder, "rows" + rows.suffix()), os.path.join(folder, "out.tsv")
            rows.write(path, self._label, None)
            words = ["predict", "--model", self._folder(), "--input", path, "--out", out, "--quiet"]
            _call([*words, "--header"] if rows.suffix() == ".csv" else words)
            return _read(out)

    def predict_proba(self, X: Any) -> numpy.ndarray:
        """Calibrated probabilities [rows, classes], in the order of ``classes_``."""
        found = self._predicted(X)
        return numpy.array([[float(row[f"p({c})"]) for c in self._spelled] for row in found])

    def predict(self, X: Any) -> numpy.ndarray:
        """The class that the program names for each row."""
        found = self._predicted(X)
        return self._classes([row["predicted"] for row in found])

    def _classes(self, spelled: Sequence[str]) -> numpy.ndarray:
        place = {name: i for i, name in enumerate(self._spelled)}
        return numpy.asarray(self.classes_)[[place[name] for name in spelled]]

    def report(self, path: str | os.PathLike[str]) -> None:
        """Writes the run's page: figures, verdict against the baselines, plots, options."""
        check_is_fitted(self)
        with open(path, "wb") as file:
            file.write(self._files["report.html"])

    @property
    def verdict_(self) -> dict[str, str]:
        """"better", "worse" or "not_told_apart" on the test rows, against each baseline."""
        check_is_fitted(self)
        found: dict[str, str] = self.summary_["verdict"]
        return found


def _as_sparse(X: Any) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_matrix(check_array(X, ensure_all_finite="allow-nan"))


class AUCClassifier(_Job):
    """``bilevel auc``: a classifier of two classes that maximizes AUC, trained by AdamBO.

    As on the command line a fifth of the rows is kept for the verdict and 15 % of the rest choose the step, after which the model is
    trained on these too; options={"folds": 5, "fold": 0} trains on all rows.
    """

    _job = "auc"
    __doc__ += _Job.__doc__ or ""

    def fit(self, X: Any, y: Any) -> AUCClassifier:
        """X: numbers [rows, features] (numpy, scipy sparse), a table (pandas, polars), or texts; y: two classes, of which the second
        of ``classes_`` is the positive one."""
        self._fit(X, y)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _job_options(self) -> dict[str, Any]:
        if len(self.classes_) > 2:
            raise ValueError(f"Only binary classification is supported. The type of the target is multiclass: {len(self.classes_)} classes")
        return {"positive": self._spelled[1]}

    def decision_function(self, X: Any) -> numpy.ndarray:
        """Scores less the threshold of best F1 on the validation rows [rows]: above 0 for what is predicted positive."""
        scores = numpy.array([float(row["score"]) for row in self._predicted(X)])
        threshold = float(f"{self.summary_['threshold']['value']:.9g}")  # as scores are written: that of a row
        return scores - math.nextafter(threshold, -math.inf)

    def predict_proba(self, X: Any) -> numpy.ndarray:
        """Calibrated probabilities [rows, 2]."""
        found = self._predicted(X)
        positive = numpy.array([float(row[f"p({self._spelled[1]})"]) for row in found])
        return numpy.stack([1 - positive, positive], 1)

    def predict(self, X: Any) -> numpy.ndarray:
        """The class by the threshold of best F1 on the validation rows."""
        found = self._predicted(X)
        return numpy.asarray(self.classes_)[[int(row["predicted"] == self._spelled[1]) for row in found]]


class _OfSeveralClasses(_Job):
    def decision_function(self, X: Any) -> numpy.ndarray:
        """Logarithms of the probabilities [rows, classes]; of two classes log(p of the second / p of the first) [rows]."""
        logs: numpy.ndarray = numpy.log(self.predict_proba(X).clip(1e-300))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs


class LabelCleaner(_OfSeveralClasses):
    """``bilevel clean``: which labels of y are wrong, and a classifier that hardly heeds them.

    weights_: what each row counts in it, [0, 1]. label_issues_: whether a label is more likely wrong than right. label_quality_: the
    probability that it is right. suggested_: the label in its place.
    """

    _job = "clean"
    __doc__ += _Job.__doc__ or ""

    def fit(self, X: Any, y: Any, trusted: tuple[Any, Any] | None = None) -> LabelCleaner:
        """trusted: rows (X, y) whose labels are right, of the same kind; by them weights and probabilities are calibrated."""
        self._fit(X, y, trusted=trusted)
        return self

    def _more_files(self, folder: str, **more: Any) -> dict[str, Any]:
        if more["trusted"] is None:
            return {}
        X, y = more["trusted"]
        trusted = self._rows(X)
        check_consistent_length(range(trusted.count), y)
        path = os.path.join(folder, "trusted" + trusted.suffix())
        trusted.write(path, self._label, self._labels(y))
        return {"trusted": path}

    def _read_results(self, out: str) -> None:
        rows = _read(os.path.join(out, "weights.tsv"))
        self.weights_ = numpy.array([float(row["weight"]) for row in rows])
        self.label_quality_ = numpy.array([float(row["probability"]) for row in rows])
        self.label_issues_ = numpy.array([row["suspicious"] == "1" for row in rows])
        self.suggested_ = self._classes([row["suggested_label"] for row in rows])

    def find_label_issues(self, X: Any, y: Any, trusted: tuple[Any, Any] | None = None) -> Any:
        """Fits, and tells of each row is_label_issue, label_quality, given_label and predicted_label: a pandas DataFrame where pandas is
        installed, else a dictionary of columns."""
        self.fit(X, y, trusted)
        return table(
            {
                "is_label_issue": self.label_issues_.tolist(),
                "label_quality": self.label_quality_.tolist(),
                "given_label": numpy.asarray(y).tolist(),
                "predicted_label": self.suggested_.tolist(),
            }
        )


class RegularizedClassifier(_OfSeveralClasses):
    """``bilevel tune``: a linear model (or a network, options={"encoder": "mlp"}) whose regularization is learned.

    strengths_: the learned L2 strengths by name, the common one first.
    """

    _job = "tune"
    __doc__ += _Job.__doc__ or ""

    def fit(self, X: Any, y: Any) -> RegularizedClassifier:
        """X: numbers [rows, features] (numpy, scipy sparse), a table (pandas, polars), or texts; y: classes."""
        self._fit(X, y)
        return self

    def _read_results(self, out: str) -> None:
        values = _read(os.path.join(out, "hyperparameters.tsv"))
        self.strengths_ = {row["name"]: float(row["value"]) for row in values if row["kind"] == "strength"}
