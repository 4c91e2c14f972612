"""Data hyper-cleaning on MNIST: a weight for every training row, half of whose labels are wrong, learned on 1,000 checked rows.

Takes the four IDX files (train-images-idx3-ubyte.gz, ...) in the folder mnist of BILEVEL_DATA, else of ../shared/data; exit code 77 where
there are none."""

import gzip
import os
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bilevel


def read(folder: Path, part: str, count: int) -> tuple[Tensor, Tensor]:
    """The first rows of a part, as images [count, 784] in [0, 1] and labels [count]."""
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())[16 : 16 + 784 * count]
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8 : 8 + count]
    pixels = torch.frombuffer(bytearray(images), dtype=torch.uint8).view(count, 784) / 255
    return pixels, torch.frombuffer(bytearray(labels), dtype=torch.uint8).long()


def accuracy(head: nn.Linear, data: tuple[Tensor, Tensor]) -> float:
    return float((head(data[0]).argmax(1) == data[1]).float().mean())


def main() -> None:
    folder = Path(os.environ.get("BILEVEL_DATA", "../shared/data")) / "mnist"
    if not folder.is_dir():
        print(f"skipped: there is no folder {folder} with MNIST's IDX files")
        sys.exit(77)
    torch.manual_seed(0)
    images, labels = read(folder, "train", 5000)
    train, checked, test = images[:4000], (images[4000:], labels[4000:]), read(folder, "t10k", 10000)
    wrong = torch.rand(4000) < 0.5
    given = torch.where(wrong, (labels[:4000] + torch.randint(1, 10, (4000,))) % 10, labels[:4000])
    # [shown]
    head = nn.Linear(784, 10)
    weights = torch.zeros(len(train), requires_grad=True)  # logits

    def weighted(batch: bilevel.Batch) -> Tensor:
        losses = F.cross_entropy(head(batch.inputs), batch.targets, reduction="none")
        return (weights[batch.numbers].sigmoid() * losses).mean() + 1e-3 * bilevel.squared_norm(head)

    problem = bilevel.Problem(
        upper=bilevel.Level({"weights": weights}, lambda b: F.cross_entropy(head(b.inputs), b.targets), data=checked, batch_size=500),
        lower=bilevel.Level(head, weighted, data=(train, given), batch_size=500),
    )
    plain = bilevel.run(problem, bilevel.SOBA(upper_step_size=1e-12, lower_step_size=0.3), max_steps=300)  # weights stay
    before = accuracy(head, test)
    result = bilevel.run(problem, bilevel.AdamBO(upper_step_size=0.2, lower_step_size=0.3, neumann_terms=3), max_steps=250)
    # [shown]
    print(plain, result, sep="\n")
    after = accuracy(head, test)
    doubted = weights.detach().sigmoid() < 0.5
    precision, recall = wrong[doubted].float().mean(), doubted[wrong].float().mean()
    print(f"test accuracy: {after:.3f} with learned weights, {before:.3f} with equal ones")
    print(f"of {int(doubted.sum())} rows that are doubted {precision:.3f} have a wrong label; {recall:.3f} of the wrong ones are found")
    assert after > before and precision > 0.8


if __name__ == "__main__":
    main()
