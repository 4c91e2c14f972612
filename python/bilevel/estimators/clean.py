"""``bilevel clean`` as an estimator."""

from __future__ import annotations

import os
from typing import Any

import numpy
from sklearn.utils.validation import check_consistent_length

from .._table import table
from ._files import Rows, read
from ._job import Job, OfSeveralClasses


class LabelCleaner(OfSeveralClasses):
    """``bilevel clean``: which labels of y are wrong, and a classifier that hardly heeds them.

    weights_: what each row counts in it, [0, 1]. label_issues_: whether a label is more likely wrong than right. label_quality_: the
    probability that it is right. suggested_: the label in its place.
    """

    _job = "clean"
    __doc__ += Job.__doc__ or ""

    def fit(self, X: Any, y: Any, trusted: tuple[Any, Any] | None = None) -> LabelCleaner:
        """trusted: rows (X, y) whose labels are right, of the same kind; by them weights and probabilities are calibrated."""
        self._fit(X, y, trusted=trusted)
        return self

    def _write(self, folder: str, rows: Rows, labels: list[str], **more: Any) -> dict[str, Any]:
        options = super()._write(folder, rows, labels)
        if more["trusted"] is not None:
            X, y = more["trusted"]
            trusted = self._rows(X)
            check_consistent_length(range(trusted.count), y)
            options["trusted"] = trusted.write(folder, "trusted", {self._label: self._labels(y)})
        return options

    def _read_results(self, out: str) -> None:
        rows = read(os.path.join(out, "weights.tsv"))
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
