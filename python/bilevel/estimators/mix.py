"""``bilevel mix`` as an estimator."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from sklearn.utils.validation import check_consistent_length, column_or_1d

from .. import _core
from ._files import Rows
from ._job import Job, OfSeveralClasses


class SourceMixer(OfSeveralClasses):
    """``bilevel mix``: a linear classifier for rows of one source, the target, few of which are labelled, with the help of rows of other
    sources; learns how much each source should count.

    weights_: what each source counts, by its name, the target's own rows among them; they sum to 1. intervals_: (low, high) at 95 % of
        each weight, by name; None where they were not measured (options={"intervals": False}). What leaving a source out costs, and more,
        is in ``summary_["sources"]``, where the target is called "(target)".
    """

    _job = "mix"
    __doc__ += Job.__doc__ or ""

    def fit(self, X: Any, y: Any, sources: Any, target: Any) -> SourceMixer:
        """X: rows of all sources, the target's among them: numbers [rows, features] (numpy, scipy sparse), a table (pandas, polars), or
        texts; y: classes. sources: the name of the source of each row [rows]. target: the name of that whose rows are like those to be
        predicted."""
        self._fit(X, y, sources=sources, target=target)
        return self

    def _write(self, folder: str, rows: Rows, labels: list[str], **more: Any) -> dict[str, Any]:
        sources, target = column_or_1d(more["sources"]).tolist(), more["target"]
        check_consistent_length(range(rows.count), sources)
        if target not in sources or len(set(sources)) < 2:
            raise _core.InputError(f"target = {target!r}: must be one of several sources; there are {sorted(set(sources), key=str)}")
        if len({str(name).strip() for name in sources}) < len(set(sources)):
            raise _core.InputError("two sources have one name, but for blanks around it")
        own = [name == target for name in sources]
        options: dict[str, Any] = {"target": rows.write(folder, "(target)", {self._label: labels}, own)}
        if rows.kind == "sparse":  # a file is a source; no quoted name is that of the target's file
            self._sources = {quote(str(name), "") + rows.suffix(): name for name in sources if name != target}
            options["sources"] = [
                rows.write(folder, file.removesuffix(rows.suffix()), {self._label: labels}, [name == one for one in sources])
                for file, name in self._sources.items()
            ]
        else:
            self._sources = {str(name).strip(): name for name in sources}
            column = rows.free_name("source", self._label)
            more_columns = {self._label: labels, column: [str(name) for name in sources]}
            options |= {"source": column, "sources": [rows.write(folder, "sources", more_columns, [not one for one in own])]}
        self._sources["(target)"] = target
        return options

    def _read_results(self, out: str) -> None:
        found = {self._sources[one["name"]]: one for one in self.summary_["sources"]}
        self.weights_ = {name: one["weight"] for name, one in found.items()}
        self.intervals_ = {name: one["interval"] and tuple(one["interval"]) for name, one in found.items()}
