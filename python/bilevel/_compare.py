"""Solvers side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch

from . import solvers as _solvers
from ._problem import Problem
from ._run import run
from ._table import table


class _Start:
    """The values of a problem's parameters and buffers, to which every run returns."""

    def __init__(self, problem: Problem):
        self.tensors = [t for level in (problem.upper, problem.lower) for t in level.tensors]
        self.tensors += [b for level in (problem.upper, problem.lower) if level.module for b in level.module.buffers()]
        self.values = [t.detach().clone() for t in self.tensors]

    def restore(self) -> None:
        with torch.no_grad():
            for tensor, value in zip(self.tensors, self.values, strict=True):
                tensor.copy_(value)


def compare(
    problem: Problem,
    solvers: Iterable[Any] | None = None,
    *,
    seeds: Iterable[int] = (0, 1, 2),
    metric: Callable[[], float] | None = None,
    **options: Any,
) -> Any:
    """Runs every solver with every seed from the problem's present values, which are there again afterwards.

    solvers: objects such as ``bilevel.SOBA(upper_step_size=.1)``; None: all of the library with their defaults.
    metric: called after each run, while the modules hold its outcome. Other options are those of ``run``.

    A table (pandas where installed, else a dictionary of columns) with a row a run: solver, seed, stop_reason, steps, seconds,
    calls (of oracles, steps and warm start), upper_start, upper_end (f on one fixed sample a seed), metric.
    """
    chosen = [getattr(_solvers, name)() for name in _solvers.__all__] if solvers is None else list(solvers)
    start = _Start(problem)
    columns: dict[str, list[Any]] = {
        name: []
        for name in ("solver", "seed", "stop_reason", "steps", "seconds", "calls", "upper_start", "upper_end", "metric")
    }
    try:
        for solver in chosen:
            for seed in seeds:
                start.restore()
                result = run(problem, copy.deepcopy(solver), seed=seed, **options)
                calls = sum(sum(result.oracle_calls.get(of, {}).values()) for of in ("steps", "warm_start"))
                row = (
                    type(solver).__name__, seed, result.stop_reason, result.steps, result.seconds, calls,
                    result.start["upper"], result.end["upper"], metric() if metric else None,
                )  # fmt: skip
                for name, value in zip(columns, row, strict=True):
                    columns[name].append(value)
    finally:
        start.restore()
    if metric is None:
        del columns["metric"]
    return table(columns)
