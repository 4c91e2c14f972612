"""Writes the type stubs of what is made from the library: ``python -m bilevel._stubs FOLDER``."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from . import _core, problems, solvers

_TYPES = {"number": "float", "integer": "int", "true|false": "bool", "number|auto": "float | str", "texts": "list[str]"}
_HEAD = '"""Generated from the library when it was built."""\n\n'


def _option(field: dict[str, Any]) -> str:
    kind = _TYPES.get(field["type"], "str")
    default = "" if field["default"] is None else field["default"]
    return f"{field['name']}: {kind + ' | None = None' if field['default'] is None else f'{kind} = {default!r}'}"


def _made_from(module: Any, base: str, entries: list[dict[str, Any]], first: str = "") -> str:
    """The stub of a module whose classes have option fields."""
    text = ""
    for name, entry in zip(module.__all__, entries, strict=True):
        options = ", ".join(_option(field) for field in entry["fields"])
        arguments = f"self{first}" + (f", *, {options}" if options else "")
        doc = inspect.cleandoc(getattr(module, name).__doc__).replace("\n", "\n    ")
        text += f'class {name}({base}):\n    """{doc}\n    """\n\n    def __init__({arguments}) -> None: ...\n'
        text += "".join(f"    {f['name']}: {_TYPES.get(f['type'], 'str')}\n" for f in entry["fields"]) + "\n"
    return text + f"__all__ = {module.__all__!r}\n"


_PLAINER = {
    r"bilevel\._core\.": "",
    r"\(self: [\w.]+": "(self",
    r"typing\.SupportsFloat \| typing\.SupportsIndex": "float",
    r"typing\.SupportsInt \| typing\.SupportsIndex": "int",
    r"\bobject\b": "Any",
    r"\bdict\b(?!\[)": "dict[str, Any]",
    r"\blist\b(?!\[)": "list[Any]",
    r"collections\.abc\.Callable(?!\[)": "collections.abc.Callable[..., Any]",
    r"<[^>]*>": "...",
}


def _signature(function: Any, name: str) -> str:
    """The arguments and the answer that pybind11 notes in a docstring; empty where there are none."""
    found = re.search(rf"{re.escape(name)}(\(.*\) -> .*)", function.__doc__ or "")
    text = found.group(1) if found else ""
    for pattern, plainer in _PLAINER.items():
        text = re.sub(pattern, plainer, text)
    return text


def _core_class(cls: type) -> str:
    bases = [base.__name__ for base in cls.__bases__ if base.__name__ not in ("object", "pybind11_object")]
    body = ""
    for name, member in vars(cls).items():
        if isinstance(member, property):
            answer = _signature(member.fget, "").partition(" -> ")[2]
            body += f"    @property\n    def {name}(self) -> {answer}: ...\n"
            continue
        static = isinstance(member, staticmethod)
        signature = _signature(member.__func__ if static else member, name) if callable(member) else ""
        if signature and (not name.startswith("_") or name in ("__init__", "__len__")):
            body += "    @staticmethod\n" * static + f"    def {name}{signature}: ...\n"
    return f"class {cls.__name__}{'(' + ', '.join(bases) + ')' if bases else ''}:\n{body or '    pass' + chr(10)}\n"


def _core_stub() -> str:
    text = "import collections.abc\nfrom typing import Any\n\nimport torch\n\n"
    for name, member in vars(_core).items():
        if name.startswith("__"):
            continue
        if isinstance(member, type):
            text += _core_class(member)
        elif callable(member):
            text += f"def {name}{_signature(member, name)}: ...\n"
        else:
            text += f"{name}: {'int' if isinstance(member, int) else 'Any'}\n"
    return text


def main(folder: str) -> None:
    out = Path(folder)
    (out / "_core.pyi").write_text(_HEAD + _core_stub())
    (out / "solvers.pyi").write_text(
        _HEAD + "from ._solver import RegisteredSolver\n\n" + _made_from(solvers, "RegisteredSolver", _core.solvers())
    )
    known = problems.KnownProblem
    base = inspect.getsource(known)
    (out / "problems.pyi").write_text(
        _HEAD + "from typing import Any\n\nfrom torch import Tensor\n\nfrom . import _core\n\n" + base + "\n"
        + _made_from(problems, "KnownProblem", _core.known_problems(), ", seed: int = 0")
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
