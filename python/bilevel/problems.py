"""Problems whose answers are known, in float64, one class each, made from the library's registry."""

from typing import Any

from torch import Tensor

from . import _core
from ._options import registered_class

__all__: "list[str]" = []


class KnownProblem:
    """A problem with an independent way to its true hypergradient. ``run``, ``check`` and ``hypergradient`` take it as it is."""

    registered_name: str

    def __init__(self, seed: int = 0, **options: Any):
        self._known = _core.KnownProblem(self.registered_name, options, seed)
        self.options: "dict[str, Any]" = self._known.options()

    def problem(self, noise: float = 0) -> _core.Problem:
        """The problem over x and y; with Gaussian noise of that standard deviation in every first derivative."""
        return self._known.problem(noise)

    @property
    def x(self) -> Tensor:
        """The upper variable, a leaf [dim x]."""
        return self._known.x

    @property
    def y(self) -> Tensor:
        """The lower variable, a leaf [dim y]."""
        return self._known.y

    def best_lower(self, x: Tensor) -> Tensor:
        """y*(x), flat; where it is not unique, one that the upper level likes best."""
        return self._known.best_lower(x.detach())

    def gradient(self, x: Tensor) -> Tensor:
        """The true hypergradient at x, flat."""
        return self._known.gradient(x.detach())

    def solution(self) -> "Tensor | None":
        """x*, flat; None where it is not known."""
        return self._known.solution()


for _entry in _core.known_problems():
    _name = _entry["name"].replace("-", "_")
    _fields = [{"name": "seed", "default": 0}, *_entry["fields"]]
    globals()[_name] = registered_class(_name, KnownProblem, _entry, _fields, __name__)
    __all__.append(_name)
