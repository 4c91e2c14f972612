"""``bilevel tune`` as an estimator."""

from __future__ import annotations

import os
from typing import Any

from ._files import read
from ._job import Job, OfSeveralClasses


class RegularizedClassifier(OfSeveralClasses):
    """``bilevel tune``: a linear model (or a network, options={"encoder": "mlp"}) whose regularization is learned.

    strengths_: the learned L2 strengths by name, the common one first.
    """

    _job = "tune"
    __doc__ += Job.__doc__ or ""

    def fit(self, X: Any, y: Any) -> RegularizedClassifier:
        """X: numbers [rows, features] (numpy, scipy sparse), a table (pandas, polars), or texts; y: classes."""
        self._fit(X, y)
        return self

    def _read_results(self, out: str) -> None:
        values = read(os.path.join(out, "hyperparameters.tsv"))
        self.strengths_ = {row["name"]: float(row["value"]) for row in values if row["kind"] == "strength"}
