"""The library's solvers, one class each, made from its registry: names, options, defaults and messages are its own."""

from typing import Any

from . import _core
from ._options import document, signature
from ._solver import RegisteredSolver

__all__: "list[str]" = []


def _solver_class(entry: "dict[str, Any]") -> type:
    def __init__(self: RegisteredSolver, **options: Any) -> None:
        RegisteredSolver.__init__(self, **options)

    __init__.__signature__ = signature(entry["fields"], self=True)  # type: ignore[attr-defined]
    return type(
        entry["class"],
        (RegisteredSolver,),
        {
            "__doc__": document(entry["summary"], entry["fields"]),
            "__init__": __init__,
            "__module__": __name__,
            "registered_name": entry["name"],
        },
    )


for _entry in _core.solvers():
    globals()[_entry["class"]] = _solver_class(_entry)
    __all__.append(_entry["class"])
