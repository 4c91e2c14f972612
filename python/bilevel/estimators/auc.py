"""``bilevel auc`` as an estimator."""

from __future__ import annotations

import math
from typing import Any

import numpy

from ._job import Job


class AUCClassifier(Job):
    """``bilevel auc``: a classifier of two classes that maximizes AUC, trained by AdamBO.

    As on the command line a fifth of the rows is kept for the verdict and 15 % of the rest choose the step, after which the model is
    trained on these too; options={"folds": 5, "fold": 0} trains on all rows.
    """

    _job = "auc"
    __doc__ += Job.__doc__ or ""

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
