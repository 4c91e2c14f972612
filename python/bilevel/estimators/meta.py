"""``bilevel meta`` as an estimator."""

from __future__ import annotations

import copy
from typing import Any

from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from ._files import Rows
from ._job import Job, OfSeveralClasses


class FewShotClassifier(OfSeveralClasses):
    """``bilevel meta``: an encoder, learned on many small tasks, for classes of which few rows are labelled.

    ``fit`` learns it from classes (or domains) with plenty of rows and measures it on some that it keeps apart; ``adapt`` gives the
    classifier of new classes. Without ``adapt``, ``predict`` tells the classes of ``fit``. The head is solved in every ``predict``, from
    the rows that were adapted to (else those of ``fit``), which the estimator keeps. Its probabilities are not calibrated.
    """

    _job = "meta"
    __doc__ += Job.__doc__ or ""

    def fit(self, X: Any, y: Any, domains: Any = None) -> FewShotClassifier:
        """X: numbers [rows, features] (numpy, scipy sparse), a table (pandas, polars), or texts; y: many classes. domains: the name of the
        domain of each row [rows]; a task then is one domain, whose classes y names, in place of some classes."""
        self._fit(X, y, domains=domains)
        return self

    def adapt(self, X: Any, y: Any) -> FewShotClassifier:
        """The classifier of the classes in y, by few rows of each; this one stays as it is. With options={"head": "shared"} the classes
        must be such as ``fit`` saw."""
        check_is_fitted(self)
        adapted = copy.copy(self)
        rows = self._rows(X)
        adapted._support = rows, adapted._take_classes(rows, y)
        return adapted

    def _write(self, folder: str, rows: Rows, labels: list[str], **more: Any) -> dict[str, Any]:
        self._support = rows, labels
        columns = {self._label: labels}
        if more["domains"] is None:
            return {"data": rows.write(folder, "data", columns)}
        domains = column_or_1d(more["domains"]).tolist()
        check_consistent_length(range(rows.count), domains)
        column = rows.free_name("domain", self._label)
        return {"data": rows.write(folder, "data", columns | {column: [str(name) for name in domains]}), "domain": column}

    def _predict_options(self, folder: str) -> list[str]:
        rows, labels = self._support
        return ["--shots", rows.write(folder, "shots", {self._label: labels})]
