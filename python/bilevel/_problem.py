"""Problems: two levels with their variables, losses and data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

import torch
from torch import Tensor, nn

from . import _core

Parameters = Union[nn.Module, Tensor, Mapping[str, Tensor], Iterable[Tensor], Iterable["tuple[str, Tensor]"]]
Loss = Callable[[_core.Batch], Tensor]
FeatureLoss = Callable[[Tensor, _core.Batch], Tensor]
Projection = Callable[[Tensor], Tensor]


def _named(parameters: Parameters) -> tuple[list[str], list[Tensor]]:
    """Names (or none) and tensors."""
    if isinstance(parameters, nn.Module):
        parameters = [(name, p) for name, p in parameters.named_parameters() if p.requires_grad]
    if isinstance(parameters, Tensor):
        return [], [parameters]
    given = list(parameters.items() if isinstance(parameters, Mapping) else parameters)
    if given and not all(isinstance(p, Tensor) for p in given):
        for pair in given:
            if not (isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], Tensor)):
                raise _core.InputError(
                    f"parameters hold {type(pair).__name__}: must be a module, tensors, or names with tensors"
                )
        return [str(name) for name, _ in given], [tensor for _, tensor in given]
    return [], given


def squared_norm(parameters: Parameters) -> Tensor:
    """Sum of the squares of all entries, a scalar: ``c * squared_norm(head)`` is the usual regularizer."""
    return _core.squared_norm(_named(parameters)[1])


def _split(found: Any, who: str) -> tuple[list[Tensor], Tensor | None]:
    """What a batch is made of, from tensors as data sets give them: inputs, (inputs, targets), ((a, b), targets)."""
    inputs, targets = found, None
    if isinstance(found, (tuple, list)):
        inputs, targets = found if len(found) == 2 else (None, None)
    inputs = list(inputs) if isinstance(inputs, (tuple, list)) else [inputs]
    if not all(isinstance(t, Tensor) for t in inputs) or not isinstance(targets, (Tensor, type(None))):
        raise _core.InputError(
            f"{who} gave {type(found).__name__}: must be a tensor, (inputs, targets) or ((input, input, ...), targets), all "
            "tensors with one entry a row (a collate of your own can make them)"
        )
    return inputs, targets


def _batches(data: Iterable[Any]) -> Iterator[tuple[list[Tensor], Tensor | None]]:
    """The batches of an iterable, over and over; of an iterator once."""
    while True:
        count = 0
        for count, batch in enumerate(data, 1):
            yield _split(batch, "the iterator")
        if count == 0 or iter(data) is data:
            raise _core.InputError("the iterator of a level's data has ended: give more batches, or an iterable that starts again")


def _source(
    data: Any, batch_size: int | None, with_replacement: bool, strata: Sequence[int], collate: Callable[[list[Any]], Any] | None
) -> Callable[[], _core.Source]:
    """Makes the batches of `data` for C++: anew for every call, so that no reference to `data` is kept where Python's garbage
    collector does not see it."""
    make, how = _core.Source, (batch_size, with_replacement, list(strata))
    if data is None:
        return make.nothing
    if isinstance(data, torch.utils.data.TensorDataset) and collate is None:
        data = data.tensors if len(data.tensors) < 3 else (data.tensors[:-1], data.tensors[-1])
        data = data[0] if len(data) == 1 else data
    if isinstance(data, Tensor) or (isinstance(data, tuple) and collate is None):
        inputs, targets = _split(data, "data")
        return functools.partial(make.of_tensors, inputs, targets, *how)
    if hasattr(data, "gather") and hasattr(data, "__len__"):
        return lambda: make.of_rows(len(data), lambda rows: _split(data.gather(rows), "gather"), *how)
    once = isinstance(data, torch.utils.data.IterableDataset) or not hasattr(data, "__getitem__")
    if hasattr(data, "__iter__") and once:
        return functools.partial(make.of_iterator, functools.partial(next, _batches(data)))
    if not hasattr(data, "__len__"):
        raise _core.InputError(
            f"data is {type(data).__name__}: must be tensors, a Dataset, an object with __len__ and gather(rows), or an iterable "
            "of batches"
        )
    join = collate or torch.utils.data.default_collate
    return lambda: make.of_rows(len(data), lambda rows: _split(join([data[i] for i in rows.tolist()]), "collate"), *how)


class Level:
    """One level: its variable, its objective and its data.

    parameters: a module (its parameters that require gradients), a tensor, tensors, or names with tensors: leaves that require
        gradients, floating point, of one dtype and device. A run changes them in place.
    loss: f or g on a batch, a scalar tensor.
    feature_loss: in place of loss beside ``Problem(encode=...)``: (features, batch) -> scalar.
    data: a tensor [rows, ...]; (inputs, targets), where inputs may be a tuple of tensors; a torch ``Dataset``, whose items
        ``collate`` joins; an object with ``__len__`` and ``gather(rows)``, rows int64 [n]; None: the loss reads no batch. An
        iterable of batches, such as a DataLoader, serves too, but cannot go back: no checkpoints, no ``check``, no solver that
        needs fixed samples, and ``batch_size`` to ``collate`` say nothing.
    batch_size: rows a batch; more than there are means all rows; None: always all rows.
    with_replacement: False: batches go through a random permutation, then a fresh one; True: independent uniform draws.
    strata: a class number for each row, from 0: batches then hold the classes in proportion (see ``Batch.weights``).
    collate: as in a DataLoader; must give inputs or (inputs, targets).
    project: upper level only: the nearest point of the feasible set to a flat x (``box``, ``ball``, ``simplex``, a function of
        your own), or such sets for single parameters by name.

    A mistake raises InputError, here or where a run starts.
    """

    def __init__(
        self,
        parameters: Parameters,
        loss: Loss | None = None,
        *,
        feature_loss: FeatureLoss | None = None,
        data: Any = None,
        batch_size: int | None = _core.default_batch_size,
        with_replacement: bool = False,
        strata: Sequence[int] = (),
        collate: Callable[[list[Any]], Any] | None = None,
        project: Projection | Mapping[str, Projection] | None = None,
    ):
        self.module = parameters if isinstance(parameters, nn.Module) else None
        self.names, self.tensors = _named(parameters)
        self.loss = loss
        self.feature_loss = feature_loss
        self._source = _source(data, batch_size, with_replacement, strata, collate)
        self._source()  # tells mistakes
        self.project = project

    def _native(self, name: str) -> _core.Level:
        project = dict(self.project) if isinstance(self.project, Mapping) else self.project
        return _core.Level(name, self.names, self.tensors, self.loss, self.feature_loss, self._source(), project)

    def split(self, flat: Tensor) -> dict[str, Tensor] | list[Tensor]:
        """A flat tensor of the level's size as one tensor for each parameter: by name where they have names."""
        parts = [
            part.view(p.shape) for part, p in zip(torch.split(flat, [p.numel() for p in self.tensors]), self.tensors, strict=True)
        ]
        return dict(zip(self.names, parts, strict=True)) if self.names else parts


class Problem:
    """Two levels. When both objectives see x through one encoder, ``encode`` (batch -> features, from x alone) with
    ``feature_loss``es in place of losses lets one encoder pass serve every use of a batch; the results are the same.

    lower_hessian: v -> (d2g/dy2) v for flat v at the present (x, y), where the lower Hessian depends on no data.
    """

    def __init__(
        self,
        upper: Level,
        lower: Level,
        *,
        encode: Callable[[_core.Batch], Tensor] | None = None,
        lower_hessian: Callable[[Tensor], Tensor] | None = None,
    ):
        self.upper = upper
        self.lower = lower
        self.encode = encode
        self.lower_hessian = lower_hessian

    def _native(self) -> _core.Problem:
        return _core.Problem(self.upper._native("upper"), self.lower._native("lower"), self.encode, self.lower_hessian)
