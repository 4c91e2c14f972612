"""Gradient hyperparameter optimization: an L2 strength for every feature, beside the best single one of a grid."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bilevel


def rows(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rows of two classes, of whose 100 features ten say something."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 100, generator=generator)
    slope = torch.zeros(100).index_fill_(0, torch.arange(10), 1.0)
    return inputs, (inputs @ slope + torch.randn(count, generator=generator) > 0).float()


def accuracy(head: nn.Linear, data: tuple[Tensor, Tensor]) -> float:
    return float(((head(data[0]).squeeze(1) > 0) == data[1].bool()).float().mean())


def best_single_strength(train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor]) -> tuple[float, nn.Linear]:
    """The grid's strength with the lowest validation loss, and its fit."""
    fits = []
    for strength in torch.logspace(-4, 1, 11).tolist():
        head = nn.Linear(100, 1)
        optimizer = torch.optim.LBFGS(head.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            fit = F.binary_cross_entropy_with_logits(head(train[0]).squeeze(1), train[1])
            loss: Tensor = fit + strength * head.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        with torch.no_grad():
            score = float(F.binary_cross_entropy_with_logits(head(valid[0]).squeeze(1), valid[1]))
        fits.append((score, strength, head))
    _, strength, head = min(fits, key=lambda fit: fit[0])
    return strength, head


def main() -> None:
    torch.manual_seed(0)
    train, valid, test = rows(150, 1), rows(300, 2), rows(2000, 3)
    # [shown]
    head = nn.Linear(100, 1)
    log_strengths = torch.full((100,), -3.0, requires_grad=True)

    def entropy(batch: bilevel.Batch) -> Tensor:
        return F.binary_cross_entropy_with_logits(head(batch.inputs).squeeze(1), batch.targets)

    def penalized(batch: bilevel.Batch) -> Tensor:
        return entropy(batch) + (log_strengths.exp() * head.weight.square()).sum()

    problem = bilevel.Problem(
        upper=bilevel.Level([log_strengths], entropy, data=valid, batch_size=None, project=bilevel.box(-8, 0)),
        lower=bilevel.Level(head, penalized, data=train, batch_size=None),
    )
    result = bilevel.run(problem, bilevel.AdamBO(upper_step_size=0.05, lower_step_size=0.3), max_steps=300)
    # [shown]
    print(result)
    strength, single = best_single_strength(train, valid)
    learned, grid = accuracy(head, test), accuracy(single, test)
    print(f"test accuracy: {learned:.3f} with 100 learned strengths, {grid:.3f} with the grid's best, {strength:.2g}")
    useful, idle = log_strengths[:10].exp().mean(), log_strengths[10:].exp().mean()
    print(f"mean strength of the ten features that say something {useful:.3f}, of the others {idle:.3f}")
    assert learned > grid and useful < idle


if __name__ == "__main__":
    main()
