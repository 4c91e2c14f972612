"""Runs: all at once, or in a loop of one's own."""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol, Union

from . import _core
from ._problem import Problem
from ._solver import native_solver
from ._table import table

_default = _core.run_defaults


class HasProblem(Protocol):
    """What makes its problem itself, such as ``bilevel.problems.p1()``."""

    def problem(self) -> _core.Problem: ...


AnyProblem = Union[Problem, HasProblem, _core.Problem]


def native_problem(problem: Any) -> _core.Problem:
    if isinstance(problem, _core.Problem):
        return problem
    if isinstance(problem, Problem):
        return problem._native()
    if callable(getattr(problem, "problem", None)):
        made: _core.Problem = problem.problem()
        return made
    raise _core.InputError(f"problem = {problem!r}: must be a bilevel.Problem")


class Result:
    """What a run came to.

    stop_reason: "converged", "max_steps", "max_seconds", "stopped_by_callback", "interrupted", "nonfinite" or
        "linear_solve_failed"; message says it in a sentence.
    steps, seconds: done, earlier parts of a resumed run included.
    start, end: {"upper", "lower"}, both objectives on one fixed sample; NaN where a number was not finite.
    usable: whether the run did not fail and both objectives are finite at its end.
    options, chosen: the solver's options, and what its automatic ones became.
    oracle_calls: by purpose and kind.
    warnings: sentences.
    columns: the trace, a list for each column.
    """

    def __init__(self, told: dict[str, Any]):
        self.solver: str = told["solver"]
        self.stop_reason: str = told["stop_reason"]
        self.message: str = told["message"]
        self.usable: bool = told["usable"]
        self.steps: int = told["steps"]
        self.seconds: float = told["seconds"]
        self.start: dict[str, float] = told["start"]
        self.end: dict[str, float] = told["end"]
        self.options: dict[str, Any] = told["options"]
        self.chosen: dict[str, Any] = told["chosen"]
        self.oracle_calls: dict[str, Any] = told["oracle_calls"]
        self.warnings: list[str] = told["warnings"]
        self.columns: dict[str, list[Any]] = told["trace"]
        self._brief: str = told["brief"]

    def __repr__(self) -> str:
        return self._brief

    @property
    def trace(self) -> Any:
        """A row for each step kept (``trace_every``): a pandas DataFrame where pandas is installed, else ``columns``."""
        return table(self.columns)

    def plot(self) -> Any:
        """Upper loss and hypergradient norm over the steps; a matplotlib figure. Needs matplotlib."""
        pyplot = importlib.import_module("matplotlib.pyplot")
        figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        for axis, column in zip(axes, ("upper_loss", "hypergradient_norm"), strict=True):
            axis.plot(self.columns["step"], self.columns[column])
            axis.set(xlabel="step", title=column.replace("_", " "))
        axes[1].set_yscale("log")
        figure.suptitle(self._brief)
        return figure


@contextlib.contextmanager
def _ctrl_c(run: _core.Run) -> Iterator[None]:
    """The first Ctrl-C ends the run after its step, a second one raises KeyboardInterrupt. In the main thread alone, and only
    where nobody else treats Ctrl-C."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run.interrupt()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _bar(wanted: bool | None, max_steps: int, name: str) -> Any:
    """A progress bar, or None."""
    if wanted is None:
        wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
    if not wanted:
        return None
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return None
    return tqdm(total=max_steps, desc=name, unit="step")


def _options(**given: Any) -> dict[str, Any]:
    for name in ("max_steps", "seed", "trace_every", "schedule_steps"):
        try:
            given[name] = operator.index(given[name])
        except TypeError:
            raise _core.InputError(f"{name} = {given[name]!r}: must be a whole number") from None
    if given["seed"] < 0:
        raise _core.InputError(f"seed = {given['seed']}: must be >= 0")
    checkpoint = given.pop("checkpoint")
    path = "" if checkpoint is None else os.fspath(checkpoint)
    if os.path.isfile(path) and os.path.getsize(path) > 0 and not given["resume"]:
        with open(path, "rb") as file:
            if not file.read(24).endswith(b'{"__metadata__":'):  # behind the eight bytes of its length
                raise _core.InputError(f"checkpoint = {path}: holds something else, which a checkpoint would replace")
    return {**given, "checkpoint": path}


def run(
    problem: AnyProblem,
    solver: Any,
    *,
    max_steps: int = _default["max_steps"],
    max_seconds: float = _default["max_seconds"],
    seed: int = _default["seed"],
    callback: Callable[[_core.Report], bool | None] | None = None,
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = _default["checkpoint_seconds"],
    resume: bool = False,
    trace_every: int = _default["trace_every"],
    schedule_steps: int = _default["schedule_steps"],
    hypergradient_tolerance: float = _default["hypergradient_tolerance"],
    warn_unused_parameters: bool = False,
) -> Result:
    """Minimizes the problem from the parameters' present values, which it changes in place. Afterwards the modules are ordinary
    ones again. Deterministic for a seed, a machine, a device and a thread count.

    solver: such as ``bilevel.AdamBO(upper_step_size=1e-3)``, or an object of your own with ``step(oracles)``.
    max_steps, max_seconds: where it ends; Ctrl-C ends it after the step (``stop_reason`` is then "interrupted").
    callback: sees the report of every step, after x and y have moved; False ends the run.
    progress: a bar (tqdm); None: in terminals and notebooks.
    checkpoint: the file of the checkpoint, written before step 1, every ``checkpoint_seconds`` and at the end; with ``resume`` the
        run continues from it bit for bit.
    trace_every: rows kept in the trace: every this many steps, and the last.
    schedule_steps: length of step-size schedules; 0: ``max_steps``.
    hypergradient_tolerance: ends where the norm of a step's estimate is at most this; 0: never.
    warn_unused_parameters: a parameter that influences neither loss is a warning in place of an error.

    InputError for a mistake, before any step; FileError for a checkpoint that cannot be read or belongs to another problem or
    solver. An exception in a callable comes out as it is, and leaves the modules usable. Numerical trouble is a ``stop_reason``.
    """
    bar = _bar(progress, max_steps, type(solver).__name__)

    def watch(report: _core.Report) -> bool | None:
        if report.step == max_steps or report.seconds - shown[0] > 0.05:
            shown[0] = report.seconds
            bar.set_postfix(upper_loss=f"{report.upper_loss:.4g}", refresh=False)
            bar.update(report.step - bar.n)
        return callback(report) if callback else None

    shown = [0.0]
    options = _options(
        max_steps=max_steps, max_seconds=max_seconds, seed=seed, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds,
        resume=resume, trace_every=trace_every, schedule_steps=schedule_steps,
        hypergradient_tolerance=hypergradient_tolerance, warn_unused_parameters=warn_unused_parameters,
    )  # fmt: skip
    with bar or contextlib.nullcontext():
        one = _core.Run(native_problem(problem), native_solver(solver), options, callback if bar is None else watch)
        try:
            with _ctrl_c(one):
                one.begin()
                one.complete()
                return Result(one.finish())
        finally:
            one.end()


class Iteration:
    """The steps of a run, for a loop of one's own: an iterator of reports. ``result`` ends the run and tells what it came to, as
    does the end of a ``with`` block; until then the modules' tensors are views of one buffer a level."""

    def __init__(self, run: _core.Run):
        self._run = run
        self._result: Result | None = None

    def __iter__(self) -> Iteration:
        return self

    def __next__(self) -> _core.Report:
        try:
            report = self._run.step()
        except StopIteration as error:  # would end the loop as if the run were done
            raise RuntimeError("a function of the problem raised StopIteration") from error
        if report is None:
            raise StopIteration
        return report

    @property
    def result(self) -> Result:
        """What the run came to, which ends it."""
        if self._result is None:
            self._result = Result(self._run.finish())
        return self._result

    def __enter__(self) -> Iteration:
        return self

    def __exit__(self, kind: object, *details: object) -> None:
        if kind is None:
            _ = self.result
        else:
            self._run.end()


def iterate(
    problem: AnyProblem,
    solver: Any,
    *,
    max_steps: int = _default["max_steps"],
    max_seconds: float = _default["max_seconds"],
    seed: int = _default["seed"],
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = _default["checkpoint_seconds"],
    resume: bool = False,
    trace_every: int = _default["trace_every"],
    schedule_steps: int = _default["schedule_steps"],
    hypergradient_tolerance: float = _default["hypergradient_tolerance"],
    warn_unused_parameters: bool = False,
) -> Iteration:
    """The same as ``run``, a step at a time::

        for report in bilevel.iterate(problem, solver, max_steps=100):
            print(report.step, report.upper_loss)

    Between two steps the modules hold the present values. Arguments and errors are those of ``run``.
    """
    options = _options(
        max_steps=max_steps, max_seconds=max_seconds, seed=seed, checkpoint=checkpoint, checkpoint_seconds=checkpoint_seconds,
        resume=resume, trace_every=trace_every, schedule_steps=schedule_steps,
        hypergradient_tolerance=hypergradient_tolerance, warn_unused_parameters=warn_unused_parameters,
    )  # fmt: skip
    one = _core.Run(native_problem(problem), native_solver(solver), options, None)
    one.begin()
    return Iteration(one)
