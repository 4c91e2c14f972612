"""The task of all scripts here: the gradient of a validation loss in ten L2 strengths of a ridge regression."""

import torch
from torch import Tensor

torch.set_default_dtype(torch.float64)
_generator = torch.Generator().manual_seed(0)
train_x, valid_x = torch.randn(80, 10, generator=_generator), torch.randn(60, 10, generator=_generator)
_slope = torch.randn(10, generator=_generator)
train_y = train_x @ _slope + torch.randn(80, generator=_generator)
valid_y = valid_x @ _slope + torch.randn(60, generator=_generator)


def lower(strengths: Tensor, w: Tensor) -> Tensor:
    return (train_x @ w - train_y).square().mean() + (strengths.exp() * w.square()).sum()


def upper(strengths: Tensor, w: Tensor) -> Tensor:
    return (valid_x @ w - valid_y).square().mean()


def fit(strengths: Tensor) -> Tensor:
    """The minimizer of `lower` in w."""
    return torch.linalg.solve(train_x.T @ train_x / 80 + torch.diag(strengths.exp()), train_x.T @ train_y / 80)


def judge(gradient: Tensor) -> float:
    """The error of a gradient at strengths of -1, as bilevel finds it; prints the verdict."""
    import bilevel

    start = torch.full((10,), -1.0)
    found = bilevel.check_hypergradient(upper, lower, start, torch.zeros(10), gradient, tolerance=1e-5)
    print(f"largest error {found.error:.1e}: {'ok' if found.ok else 'wrong'}")
    return found.error
