"""Can a hypergradient be trusted?"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Union

import torch
from torch import Tensor

from . import _core
from ._options import document
from ._problem import Level, Problem
from ._run import AnyProblem, native_problem

Variables = Union[Tensor, Sequence[Tensor]]


class Check:
    """What a check found out. ``ok``: nothing is wrong; ``str(check)`` is the table; ``data`` holds everything."""

    def __init__(self, told: dict[str, Any]):
        self.ok: bool = told["ok"]
        self.data: dict[str, Any] = told["data"]
        self._text: str = told["text"]

    def __str__(self) -> str:
        return self._text

    __repr__ = __str__

    def __bool__(self) -> bool:
        return self.ok

    def _repr_html_(self) -> str:
        verdict, colour = ("ok", "#1a7f37") if self.ok else ("wrong", "#c62828")
        return f'<b style="color:{colour}">{verdict}</b><pre>{html.escape(self._text)}</pre>'


def check(problem: AnyProblem, *, estimators: Sequence[str] = (), **options: Any) -> Check:
    return Check(_core.check(native_problem(problem), options, list(estimators), None))


check.__doc__ = (
    document(
        "Examines a problem at its present x and y, which stay as they are: every estimator of the hypergradient against finite "
        "differences of the solved problem, derivatives against differences, the lower level from other starts, minibatches "
        "against all rows",
        _core.check_fields,
    )
    + f"\n\nestimators: some of {', '.join(_core.estimators)}; none given: all."
    + "\n\nprint(bilevel.check(problem)) shows the verdicts; .ok is False where something is wrong."
)


@dataclass
class Hypergradient:
    """An estimate of the hypergradient: ``value`` flat [dim x], ``gradients`` in the parameters' shapes (by name where they have
    names). Where ``failed``, value is NaN and ``message`` says why. ``residual``: what is left of the equation solved."""

    value: Tensor
    gradients: Any
    residual: float
    failed: bool
    message: str
    oracle_calls: dict[str, int]


def hypergradient(problem: AnyProblem, method: str = "cg", *, seed: int = 0, **options: Any) -> Hypergradient:
    told = _core.hypergradient(native_problem(problem), method, options, seed)
    gradients = problem.upper.split(told["value"]) if isinstance(problem, Problem) else [told["value"]]
    return Hypergradient(gradients=gradients, **told)


hypergradient.__doc__ = (
    "The hypergradient at the present (x, y), on all rows, without randomness inside the losses. y should minimize g: the formula "
    "holds at y*(x).\n\nmethod, with its options:\n"
    + "\n".join(
        f"    {name}: {entry['summary']} ({', '.join(f['name'] for f in entry['fields']) or 'no options'})"
        for name, entry in _core.estimators.items()
    )
    + "\n\nInputError for an unknown method, option or value, and a problem that is not complete."
)


def _listed(given: Variables) -> list[Tensor]:
    return [given] if isinstance(given, Tensor) else list(given)


def check_hypergradient(
    upper: Callable[..., Tensor], lower: Callable[..., Tensor], x: Variables, y: Variables, candidate: Variables, **options: Any
) -> CandidateCheck:
    """Checks a hypergradient that another library or a formula of yours gave.

    upper, lower: f(x, y) and g(x, y), scalars. x, y: a tensor or tensors, copied; y is where the search for y*(x) starts.
    candidate: grad f(x, y*(x)) as you have it, in the shape of x. Options are those of ``check``.

    ``.error`` of the answer is the largest relative error against finite differences of the solved problem, ``.ok`` the verdict.
    """

    def leaves(given: Variables) -> tuple[list[Tensor], Any]:
        made = [t.detach().clone().requires_grad_() for t in _listed(given)]
        return made, made[0] if isinstance(given, Tensor) else made

    xs, x_leaf = leaves(x)
    ys, y_leaf = leaves(y)
    problem = Problem(Level(xs, lambda b: upper(x_leaf, y_leaf)), Level(ys, lambda b: lower(x_leaf, y_leaf)))
    parts = _listed(candidate)
    if [p.shape for p in parts] != [t.shape for t in xs]:
        raise _core.InputError(
            f"candidate has shapes {[tuple(p.shape) for p in parts]}: must be those of x, {[tuple(t.shape) for t in xs]}"
        )
    flat = torch.cat([p.detach().to(xs[0]).flatten() for p in parts])
    return CandidateCheck(_core.check(problem._native(), options, [], flat))


class CandidateCheck(Check):
    """The check of a candidate."""

    @property
    def error(self) -> float:
        """The largest relative error against finite differences; NaN where it could not be told."""
        found = self.data["estimators"][0]["against_differences"]
        return float("nan") if found is None else found
