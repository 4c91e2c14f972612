"""Few-shot classification: an encoder, learned so that heads fitted to five rows a class classify new classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bilevel

WAYS, SHOTS, QUERIES, FEATURES = 5, 5, 10, 32


class Tasks:
    """Tasks over classes whose rows differ in eight of 64 directions, under noise in all of them."""

    def __init__(self, count: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        mixing = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
        centres = torch.randn(count, WAYS, 1, 8, generator=generator)
        noise = torch.randn(count, WAYS, SHOTS + QUERIES, 64, generator=generator)
        self.rows = (centres @ mixing + 4 * noise).tanh()

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, numbers: Tensor) -> Tensor:
        return self.rows[numbers]


def entropy(scores: Tensor) -> Tensor:
    """Of scores [tasks, ways, rows, ways]."""
    targets = torch.arange(WAYS).view(1, WAYS, 1).expand(scores.shape[:3])
    return F.cross_entropy(scores.flatten(0, 2), targets.flatten())


def accuracy(encoder: nn.Module, tasks: Tasks) -> float:
    """Of heads fitted to the shots of new tasks, on their queries."""
    with torch.no_grad():
        features = encoder(tasks.rows)
    heads = torch.zeros(len(tasks), FEATURES, WAYS, requires_grad=True)
    optimizer = torch.optim.Adam([heads], 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = entropy(features[:, :, :SHOTS] @ heads[:, None]) + 0.01 * heads.square().sum() / len(tasks)
        loss.backward()
        optimizer.step()
    found = (features[:, :, SHOTS:] @ heads[:, None]).argmax(-1)
    return float((found == torch.arange(WAYS).view(1, WAYS, 1)).float().mean())


def main() -> None:
    torch.manual_seed(0)
    train, test = Tasks(200, seed=1), Tasks(100, seed=2)
    encoder = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, FEATURES))
    before = accuracy(encoder, test)
    # [shown]
    heads = torch.zeros(len(train), FEATURES, WAYS, requires_grad=True)  # y: one for each task

    def shots(batch: bilevel.Batch) -> Tensor:
        own = heads[batch.numbers]
        return entropy(encoder(batch.inputs[:, :, :SHOTS]) @ own[:, None]) + 0.01 * own.square().sum() / len(batch)

    def queries(batch: bilevel.Batch) -> Tensor:
        return entropy(encoder(batch.inputs[:, :, SHOTS:]) @ heads[batch.numbers][:, None])

    problem = bilevel.Problem(
        upper=bilevel.Level(encoder, queries, data=train, batch_size=50),
        lower=bilevel.Level({"heads": heads}, shots, data=train, batch_size=50),
    )
    result = bilevel.run(problem, bilevel.AdamBO(upper_step_size=2e-3), max_steps=100, seed=0)
    # [shown]
    print(result)
    after = accuracy(encoder, test)
    print(f"accuracy on new classes: {after:.3f}; with the encoder as it was initialized {before:.3f}")
    assert after > before + 0.05


if __name__ == "__main__":
    main()
