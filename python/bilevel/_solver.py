"""Solvers: those of the library by name, and those written in Python."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from . import _core


class Solver:
    """A bilevel algorithm. Of a solver in Python, ``step`` alone is needed; every class that has one serves.

    Its variables are attributes. Checkpoints keep those that are tensors or numbers, for which ``start`` sets initial values.
    Solvers keep no point and no sample from one step to the next.
    """

    def start(self, oracles: _core.Oracles, max_steps: int) -> None:
        """Gives the variables their initial values at the present (x, y), for a run of at most ``max_steps`` steps."""

    def warm_start(self, oracles: _core.Oracles) -> None:
        """Steps on y alone before step 1."""

    def step(self, oracles: _core.Oracles) -> _core.StepReport:
        """One iteration of the algorithm."""
        raise NotImplementedError(f"{type(self).__name__} has no step(oracles)")

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that ``step`` reads and changes."""
        state = {}
        for name, value in vars(self).items():
            if isinstance(value, (Tensor, int, float)):
                state[name] = torch.as_tensor(value, dtype=torch.float64 if isinstance(value, float) else None)
            elif not (value is None or isinstance(value, str) or callable(value)):
                raise _core.InputError(
                    f"a checkpoint cannot keep {type(self).__name__}.{name}, which is {type(value).__name__}: make it a tensor or "
                    "a number, or give the class a state_dict and a load_state_dict"
                )
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restores what ``state_dict`` told."""
        for name, value in state.items():
            now = getattr(self, name)
            setattr(self, name, value if isinstance(now, Tensor) else type(now)(value.item()))

    def _native(self) -> _core.Solver:
        return _core.Solver.of_python(type(self).__name__, self)


class _Adopted(Solver):
    """A solver of a class of its own, which need not know `Solver`."""

    def __init__(self, solver: Any):
        self._solver = solver
        for name in ("start", "warm_start", "step", "state_dict", "load_state_dict"):
            method = getattr(solver, name, None) or getattr(Solver, name).__get__(solver)
            setattr(self, name, method)

    def _native(self) -> _core.Solver:
        return _core.Solver.of_python(type(self._solver).__name__, self)


class RegisteredSolver(Solver):
    """A solver of the library. Its options are keyword arguments and attributes; ``options`` has all of them."""

    registered_name: str

    def __init__(self, **options: Any):
        self.options: dict[str, Any] = _core.Solver.registered(self.registered_name, options).options()

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["options"][name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no option {name}") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.options == other.options

    def _native(self) -> _core.Solver:
        return _core.Solver.registered(self.registered_name, self.options)


def native_solver(solver: Any) -> _core.Solver:
    if isinstance(solver, Solver):
        return solver._native()
    if isinstance(solver, type) or not callable(getattr(solver, "step", None)):
        raise _core.InputError(f"solver = {solver!r}: must be a solver, such as bilevel.AdamBO(), or have step(oracles)")
    return _Adopted(solver)._native()
