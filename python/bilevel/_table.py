"""Tables: pandas' where pandas is installed, else a dictionary of columns."""

from __future__ import annotations

import importlib
from typing import Any


def table(columns: dict[str, list[Any]]) -> Any:
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return columns
    return pandas.DataFrame(columns)
