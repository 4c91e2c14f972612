"""MNIST with replaced labels: `bilevel clean` beside the usual methods."""
import gzip
import pathlib
import random
import struct

from _clean import DEPENDS as SHARED, comparison

TITLE = "Cleaning: MNIST"
DEPENDS = [*SHARED, "benchmarks/results/clean_mnist.py"]
RATIOS = [0.5, 0.7, 0.9]
SEEDS = range(100, 105)
PIXELS = 28 * 28


def draw(run, seed, train=20000, trusted=5000):
    """IDX files of `train` images to clean and `trusted` others."""
    with gzip.open(run.data("mnist/train-images-idx3-ubyte.gz")) as file:
        images = file.read()[16:]
    with gzip.open(run.data("mnist/train-labels-idx1-ubyte.gz")) as file:
        labels = file.read()[8:]
    rows = random.Random(seed).sample(range(len(labels)), train + trusted)
    folder = pathlib.Path(run.folder) / f"mnist-{seed}"
    folder.mkdir(exist_ok=True)
    words = []
    for part, chosen in (("train", rows[:train]), ("trusted", rows[train:])):
        paths = folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"
        paths[0].write_bytes(struct.pack(">4i", 2051, len(chosen), 28, 28) +
                             b"".join(images[PIXELS * i:PIXELS * (i + 1)] for i in chosen))
        paths[1].write_bytes(struct.pack(">2i", 2049, len(chosen)) + bytes(labels[i] for i in chosen))
        words += [f"--{part}", f"{paths[0]},{paths[1]}"]
    return folder, [*words, "--test", run.data("mnist/t10k-images-idx3-ubyte.gz")]


def table(run, ratios=RATIOS, seeds=SEEDS, **sizes):
    parts = ["Softmax regression on the pixels, L2 100 for every method: 20,000 random training images whose labels are "
             "replaced with probability .5, .7 or .9 by a digit drawn from all ten (so 45, 63 and 81 % are wrong), 5,000 others "
             "trusted, the test file of 10,000. `difference`: `bilevel clean` less the method, paired over the draws.\n"]
    for ratio in ratios:
        results = []
        for seed in seeds:
            folder, words = draw(run, seed, **sizes)
            results.append(run.bilevel(["clean", *words, "--inject-noise", round(0.9 * ratio, 2), "--l2", 100, "--seed", seed,
                                        "--out", folder / f"run-{ratio}"]))
        parts.append(f"Ratio {ratio}:\n\n{comparison(run, results)}")
    return "\n".join(parts)
