"""What all estimators share: fit runs a job of the program, predict runs ``bilevel predict`` on its result."""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Sequence
from typing import Any

import numpy
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from .. import _core
from ._files import Rows, as_sparse, call, is_missing, plain, read, spelling

# Of fitted estimators the folders that the program reads: no part of their state, since fits, copies and pickles bring the files.
_folders: "weakref.WeakKeyDictionary[Job, tempfile.TemporaryDirectory[str]]" = weakref.WeakKeyDictionary()


# Options that would leave out rows or classes, or mean other files.
_OWN = {"train", "data", "trusted", "target", "sources", "source", "label", "positive", "header"}
_OWN |= {"label_spelling", "min_rows", "drop_unlabelled"}


class Job(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
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

    def _job_options(self) -> dict[str, Any]:
        return {}

    def _labels(self, y: Any) -> list[str]:
        known = dict(zip(self.classes_.tolist(), self._spelled, strict=True))
        try:
            return [known[label] for label in numpy.asarray(y).tolist()]
        except KeyError as error:
            raise _core.InputError(f"label {error.args[0]!r}: fit saw {list(known)}") from None

    def _take_classes(self, rows: Rows, y: Any) -> list[str]:
        """Checks y and sets the classes; the label of each row as files have it."""
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        y = column_or_1d(y, warn=True)
        if y.dtype == object and any(is_missing(label) for label in y):
            raise _core.InputError("a label of y is missing")
        check_consistent_length(range(rows.count), y)
        check_classification_targets(y)
        self.classes_ = numpy.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes, but y has one class: {self.classes_[0]!r}")
        # LIBSVM files have numbers for labels.
        self._spelled = [str(i) if rows.kind == "sparse" else spelling(c) for i, c in enumerate(self.classes_.tolist())]
        if len(set(self._spelled)) < len(self.classes_) or "" in self._spelled:
            raise _core.InputError(f"classes {self.classes_.tolist()}: one is empty, or two are one to the program, which takes no blanks around labels")
        return self._labels(y)

    def _fit(self, X: Any, y: Any, **more: Any) -> Job:
        for name in _OWN & set(self.options or ()):
            raise _core.InputError(f"options: {name}: rows, classes and files are those of X and y")
        rows = self._rows(X, fitting=True)
        labels = self._take_classes(rows, y)
        self._label = rows.free_name("label")
        with tempfile.TemporaryDirectory() as folder:
            out, given = (os.path.join(folder, name) for name in ("out", "given.json"))
            options: dict[str, Any] = {"seed": self.seed, "threads": self.threads}
            if rows.kind != "sparse":
                options |= {"label": self._label, "label_spelling": "keep"}
            if rows.suffix() == ".csv":
                options["header"] = True
            options |= self._job_options() | self._write(folder, rows, labels, **more) | (self.options or {})
            options |= rows.options(options)
            with open(given, "w", encoding="utf-8") as file:
                json.dump({"command": self._job, "options": options}, file, default=plain)
            call([self._job, "--options", given, "--out", out, "--quiet"])
            self._files = {}
            for name in os.listdir(out):
                if name != "checkpoint.safetensors" and os.path.isfile(os.path.join(out, name)):
                    with open(os.path.join(out, name), "rb") as result:
                        self._files[name] = result.read()
            self.summary_ = json.loads(self._files["summary.json"])
            self._read_results(out)
        _folders.pop(self, None)
        return self

    def _write(self, folder: str, rows: Rows, labels: list[str], **more: Any) -> dict[str, Any]:
        """Writes the files that the job reads; the options that name them."""
        return {"train": rows.write(folder, "train", {self._label: labels})}

    def _read_results(self, out: str) -> None:
        """What else there is, from the folder of the run."""

    def _rows(self, X: Any, fitting: bool = False) -> Rows:
        rows = Rows(X)
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
            rows = Rows(X.toarray() if rows.kind == "sparse" else as_sparse(X))
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
            out = os.path.join(folder, "out.tsv")
            words = ["predict", "--model", self._folder(), "--input", rows.write(folder, "rows"), "--out", out, "--quiet"]
            words += ["--header"] if rows.suffix() == ".csv" else []
            call(words + self._predict_options(folder))
            return read(out)

    def _predict_options(self, folder: str) -> list[str]:
        """More words for ``bilevel predict``, and their files."""
        return []

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


class OfSeveralClasses(Job):
    def decision_function(self, X: Any) -> numpy.ndarray:
        """Logarithms of the probabilities [rows, classes]; of two classes log(p of the second / p of the first) [rows]."""
        logs: numpy.ndarray = numpy.log(self.predict_proba(X).clip(1e-300))
        return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs
