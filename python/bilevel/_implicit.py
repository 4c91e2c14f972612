"""y*(x) as a differentiable function, around any solver of the lower level."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Union

import torch
from torch import Tensor

from . import _core


def _foreign_leaf(loss: Tensor, known: Sequence[Tensor]) -> Tensor | None:
    """A leaf of the graph of `loss` that is none of `known`."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable: Tensor | None = getattr(node, "variable", None)
        if variable is not None and not any(variable is one for one in known):
            return variable
        waiting += [next_node for next_node, _ in node.next_functions]
    return None


_SOLVED = 1e-3  # relative residual above which it is said: of solvers that make a number of steps and look at nothing


class _Once(torch.autograd.Function):
    """Values whose own derivatives are refused."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *origins: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        raise RuntimeError(
            "second derivatives of an implicit y*(x) are not known: bilevel.implicit has first ones, so do without create_graph"
        )


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settings: dict[str, Any], *x: Tensor) -> Any:
        with torch.no_grad():
            found = settings["solve"](*[t.detach() for t in x])
        ys = tuple(t.detach().clone() for t in ([found] if isinstance(found, Tensor) else found))
        ctx.settings, ctx.count = settings, len(x)
        ctx.save_for_backward(*x, *ys)
        return ys[0] if isinstance(found, Tensor) else ys

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> Any:
        saved = ctx.saved_tensors
        needed = ctx.needs_input_grad[1:]
        xs = [t.detach().requires_grad_(needs) for t, needs in zip(saved[: ctx.count], needed, strict=True)]
        ys = [t.detach().requires_grad_() for t in saved[ctx.count :]]
        with torch.enable_grad():
            loss = ctx.settings["lower_loss"](*xs, *ys).sum()
            foreign = _foreign_leaf(loss, xs + ys)
            if foreign is not None:
                raise _core.InputError(
                    f"lower_loss depends on a tensor of shape {tuple(foreign.shape)} that requires a gradient and is no argument, so "
                    "that its gradient would be lost: make it an argument of solve and lower_loss, or detach it"
                )
            slopes = torch.autograd.grad(loss, ys, create_graph=True, materialize_grads=True)
        wanted = [x for x in xs if x.requires_grad]
        curved = [slope for slope in slopes if slope.requires_grad]

        def product(flat: Tensor, targets: Sequence[Tensor]) -> Any:
            parts = [p.view_as(y) for p, y in zip(torch.split(flat, [y.numel() for y in ys]), ys, strict=True)]
            weights = [p for p, slope in zip(parts, slopes, strict=True) if slope.requires_grad]
            if not curved:
                return [torch.zeros_like(t) for t in targets]
            return torch.autograd.grad(curved, targets, weights, retain_graph=True, materialize_grads=True)

        def hessian(flat: Tensor) -> Tensor:
            return torch.cat([part.flatten() for part in product(flat, ys)]).detach()

        b = torch.cat([o.flatten() for o in outer])
        told = _core.solve_linear(hessian, b, ctx.settings["options"])
        if told["failed"]:
            raise _core.Error(f"the gradient of y*(x) is not known, its linear system was not solved: {told['message']}")
        if told["message"]:
            warnings.warn(f"the gradient of y*(x) is not exact: {told['message']}", stacklevel=2)
        elif (left := float((hessian(told["z"]) - b).norm())) > _SOLVED * float(b.norm()):
            warnings.warn(
                f"the gradient of y*(x) is not exact: its linear system is left with a residual of {left / float(b.norm()):.2g} of the "
                "right-hand side; more linear_steps, or linear='cg', go on",
                stacklevel=2,
            )
        found = iter(product(told["z"], wanted))
        gradients = [next(found).neg() if x.requires_grad else None for x in xs]
        if torch.is_grad_enabled():  # create_graph
            gradients = [None if g is None else _Once.apply(g, *saved[: ctx.count], *outer) for g in gradients]  # type: ignore[no-untyped-call]
        return (None, *gradients)


def implicit(
    solve: Callable[..., Any], lower_loss: Callable[..., Tensor], linear: str = "cg", **options: Any
) -> Callable[..., Any]:
    """y*(x) as a function that autograd differentiates: ``solve`` forward, whatever it does, and backward the implicit derivative
    -(d2g/dxdy)' (d2g/dy2)^-1 of a minimizer of g.

    solve: (x, ...) -> y, a tensor or a tuple of tensors that minimizes ``lower_loss``; called without gradients.
    lower_loss: (x, ..., y, ...) -> g, a scalar, or one loss for each row of a batch: rows whose loss reads their own x and y alone
        are solved together. What it depends on beside x and y must not require gradients (InputError).
    linear: the linear solver: neumann, sgd, cg, cg-normal, fixed-point, exact; options are its own: linear_steps,
        linear_tolerance, linear_step_size, on_failure, damping, ...

    Backward raises bilevel.Error where the linear system could not be solved, and warns where it was not solved to the end.
    Second derivatives are refused (RuntimeError).

        ridge = bilevel.implicit(fit, lambda strength, w: loss(w) + strength * (w * w).sum())
        validation_loss(ridge(strength)).backward()
    """
    given = {"linear_solver": linear, **options}
    _core.check_linear_options(given)
    settings = {"solve": solve, "lower_loss": lower_loss, "options": given}

    def differentiable(*x: Union[Tensor, Any]) -> Any:
        return _Implicit.apply(settings, *x)  # type: ignore[no-untyped-call]

    return differentiable
