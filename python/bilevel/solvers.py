"""The library's solvers, one class each, made from its registry: names, options, defaults and messages are its own."""

from typing import Any

from . import _core
from ._options import registered_class
from ._solver import RegisteredSolver

__all__: "list[str]" = []


for _entry in _core.solvers():
    globals()[_entry["class"]] = registered_class(_entry["class"], RegisteredSolver, _entry, _entry["fields"], __name__)
    __all__.append(_entry["class"])
