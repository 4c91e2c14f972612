"""What the program reads and writes: X and y as files, its result, its warnings and errors."""

from __future__ import annotations

import csv
import itertools
import json
import math
import numbers
import os
import re
import subprocess
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy
from sklearn.utils import check_array

from .. import _core

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bilevel")


def call(words: Sequence[str]) -> None:
    """Runs the program; its warnings become Python's, its errors InputError, FileError or Error."""
    done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    told = [line for line in done.stderr.splitlines() if line]
    for line in told:
        if line.startswith("warning: "):
            warnings.warn(line.removeprefix("warning: "), stacklevel=4)
    if done.returncode == 0:
        return
    message = " ".join(line.removeprefix("bilevel: ") for line in told if not line.startswith("warning: "))
    kinds = {2: _core.InputError, 4: _core.FileError}
    raise kinds.get(done.returncode, _core.Error)(message or f"the program ended with {done.returncode}")


def read(path: str) -> list[dict[str, str]]:
    """A table of the program: quoted as a whole, where a cell holds a tab or a line end, or not at all."""
    with open(path, encoding="utf-8", newline="") as file:
        quoted = file.read(1) == '"'
        file.seek(0)
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE))


def spelling(label: Any) -> str:
    """A label as the program has it: blanks around it do not count, and whole numbers are the same with a sign or zeros behind the point."""
    text = str(label).strip()
    return str(int(float(text))) if re.fullmatch(r"[+-]?\d{1,15}\.?0*", text) and not re.match(r"[+-]?0\d", text) else text


def names_in(text: Any) -> list[str]:
    """The names of a list of columns, as options have it."""
    return [] if not text else next(csv.reader([str(text)]))


def plain(value: Any) -> Any:
    """Of numpy's numbers and paths what JSON has."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise _core.InputError(f"options hold {value!r}, which is no number, text or list")


class Rows:
    """X as columns: texts, a table, or numbers, sparse ones as they are."""

    def __init__(self, X: Any):
        self.names: list[str] | None = None  # of a table's columns, as they are given
        self.kind, self.sparse = "numbers", None
        if hasattr(X, "columns") and hasattr(X, "shape"):  # pandas, polars
            self.kind = "table"
            self.names = [str(name) for name in X.columns]
            if len(set(self.names)) < len(self.names):
                raise _core.InputError("two columns of X have one name")
            self.columns = [_cells(X[name]) for name in X.columns]
            self.kinds = [_kind(X[name], cells) for name, cells in zip(X.columns, self.columns, strict=True)]
            self.count = int(X.shape[0])
            return
        flat = isinstance(X, (list, tuple)) or getattr(X, "ndim", 2) == 1
        if flat and len(X) > 0 and any(isinstance(text, str) for text in X):
            for i, text in enumerate(X):
                if not isinstance(text, str):
                    raise _core.InputError(f"X[{i}] is {text!r}, and no text as others are")
            self.kind, self.columns, self.count = "texts", [list(X)], len(X)
            return
        X = check_array(X, accept_sparse="csr", dtype="numeric", ensure_all_finite="allow-nan", estimator="bilevel")
        self.count, width = X.shape
        if hasattr(X, "indptr"):
            self.kind, self.sparse = "sparse", X.astype(float) if X.dtype == bool else X
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

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the program is told of the columns, by its options' names, beside the options that are given."""
        if self.kind == "texts":
            return {"text": "text"}
        if self.kind == "sparse":
            return {}
        used = {name for key in ("group", "time", "drop", "text", "numeric", "categorical", "domain") for name in names_in(given.get(key))}
        listed = names_in(given.get("features"))
        every = not given.get("text") if listed in ([], ["all"]) else None  # with a text no other column is read
        told: dict[str, list[str]] = {}
        kinds = self.kinds if self.kind == "table" else ["numeric"] * self.width
        for name, kind in zip(self.header(), kinds, strict=True):
            if kind and name not in used and (name in listed if every is None else every):
                told.setdefault(kind, []).append('"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name)
        # Of a kind that options list, theirs come behind.
        return {key: ",".join([*names, *filter(None, [given.get(key)])]) for key, names in told.items()}

    def suffix(self) -> str:
        return {"texts": ".jsonl", "sparse": ".libsvm"}.get(self.kind, ".csv")

    def free_name(self, name: str, *taken: str) -> str:
        """A name for a column that no other column has."""
        while name in (*self.header(), *taken):
            name += "_"
        return name

    def write(
        self, folder: str, name: str, more: Mapping[str, Sequence[str]] | None = None, keep: Sequence[bool] | None = None
    ) -> str:
        """Writes the rows, or those to keep, with more columns behind theirs; the file's path. LIBSVM files have room for one more, the
        label."""
        path, more = os.path.join(folder, name + self.suffix()), more or {}
        keep = [True] * self.count if keep is None else keep
        with open(path, "w", encoding="utf-8", newline="") as file:
            if self.sparse is not None:
                rows = self.sparse.sorted_indices()
                at, indices, values = rows.indptr.tolist(), rows.indices.tolist(), rows.data.tolist()
                labels = next(iter(more.values()), ["0"] * self.count)
                for i in itertools.compress(range(self.count), keep):
                    entries = [f"{indices[k] + 1}:{values[k]!r}" for k in range(at[i], at[i + 1])]
                    file.write(" ".join([labels[i], *entries]) + "\n")
                return path
            names = [*self.header(), *more]
            kept = itertools.compress(zip(*self.columns, *more.values(), strict=True), keep)
            if self.kind == "texts":
                file.writelines(json.dumps(dict(zip(names, cells, strict=True))) + "\n" for cells in kept)
            else:
                writer = csv.writer(file)
                writer.writerow(names)
                writer.writerows(kept)
        return path


def _cells(column: Any) -> list[Any]:
    values = column.to_list() if hasattr(column, "to_list") else list(column)
    return [_number(v) if isinstance(v, (int, float)) else "" if is_missing(v) else str(v) for v in values]


def is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ == "NAType" or bool(value != value)  # pandas.NA compares with nothing


def _kind(column: Any, cells: Iterable[Any]) -> str:
    """As what the program reads a column; empty: it finds out, as it does for a file."""
    if all(isinstance(v, (int, float)) or v == "" for v in cells):
        return "numeric"
    return "categorical" if str(column.dtype).lower().startswith(("category", "categorical", "enum")) else ""


def _number(value: Any) -> Any:
    """A cell: empty for a missing value."""
    if isinstance(value, bool):
        return int(value)
    return "" if isinstance(value, float) and math.isnan(value) else value


def as_sparse(X: Any) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_matrix(check_array(X, ensure_all_finite="allow-nan"))
