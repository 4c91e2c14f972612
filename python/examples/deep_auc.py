"""Deep AUC maximization on an LSTM of one's own: a rare class in sequences, beside cross-entropy."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bilevel

SHARE = 0.05  # of the positive class


def sequences(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Sequences [count, 24, 4] of noise; a positive one holds a short rise and fall somewhere in its first channel."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 24, 4, generator=generator)
    labels = torch.zeros(count).index_fill_(0, torch.arange(int(SHARE * count)), 1.0)
    places = torch.randint(0, 19, (count, 1), generator=generator) + torch.arange(5)
    shape = torch.tensor([1.0, 2.0, 0.0, -2.0, -1.0])
    inputs[:, :, 0].scatter_add_(1, places, labels[:, None] * shape)
    return inputs, labels


class Net(nn.Module):
    """A score for each sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 16, batch_first=True)
        self.head = nn.Linear(16, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        states: Tensor = self.lstm(inputs)[0].mean(1)
        scores: Tensor = self.head(states).squeeze(1)
        return scores


def auc(net: Net, data: tuple[Tensor, Tensor]) -> float:
    """The share of pairs of a positive and a negative row that are in the right order."""
    with torch.no_grad():
        scores = net(data[0])
    positive, negative = scores[data[1] == 1], scores[data[1] == 0]
    return float((positive[:, None] > negative).float().mean())


def with_cross_entropy(train: tuple[Tensor, Tensor], steps: int) -> Net:
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(steps):
        rows = torch.randint(0, len(train[0]), (64,))
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(net(train[0][rows]), train[1][rows]).backward()
        optimizer.step()
    return net


def main() -> None:
    train, test = sequences(4000, 1), sequences(4000, 2)
    torch.manual_seed(0)
    # [shown]
    net = Net()
    upper = {**dict(net.named_parameters()), "a": torch.zeros(1, requires_grad=True), "b": torch.zeros(1, requires_grad=True)}
    alpha = torch.zeros(1, requires_grad=True)

    def margin_loss(batch: bilevel.Batch) -> Tensor:
        """The AUC-margin loss of LibAUC (Yuan et al. 2021), which alpha maximizes."""
        scores, positive = net(batch.inputs), batch.targets
        spread = (1 - SHARE) * (scores - upper["a"]) ** 2 * positive + SHARE * (scores - upper["b"]) ** 2 * (1 - positive)
        gap = SHARE * scores * (1 - positive) - (1 - SHARE) * scores * positive
        mean = bilevel.weighted_mean(spread + 2 * alpha * gap, batch.weights)
        return mean + (2 * alpha - alpha**2).squeeze() * SHARE * (1 - SHARE)

    strata = train[1].long().tolist()  # at least one positive row a batch
    problem = bilevel.Problem(
        upper=bilevel.Level(upper, margin_loss, data=train, batch_size=64, strata=strata),
        lower=bilevel.Level({"alpha": alpha}, lambda b: -margin_loss(b), data=train, batch_size=64, strata=strata),
    )
    result = bilevel.run(problem, bilevel.AdamBO(upper_step_size=1e-2), max_steps=250, seed=0)
    # [shown]
    print(result)
    found = auc(net, test)
    print(f"test AUC: {found:.3f}; of the same network trained by cross-entropy {auc(with_cross_entropy(train, 250), test):.3f}")
    assert found > 0.8


if __name__ == "__main__":
    main()
