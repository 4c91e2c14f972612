"""Whether the interval of the share of wrong labels holds it."""
import pathlib
import random
import statistics

from _clean import DEPENDS as SHARED

TITLE = "Cleaning: the interval of the share of wrong labels"
DEPENDS = [*SHARED, "benchmarks/results/clean_noise_share.py"]
NOISE = [("symmetric", 0.2), ("symmetric", 0.4), ("one-sided", 0.1), ("one-sided", 0.2), ("one-sided", 0.4)]
SHARES = [0.5, 0.2, 0.1, 0.05]
DRAWS = 20
ROWS, TRUSTED, COLUMNS = 3000, 300, 4
SEPARATION = 2.5  # of the classes' means, in standard deviations: a tenth of the rows of even classes lie on the wrong side


def write(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.write("label," + ",".join(f"x{i + 1}" for i in range(COLUMNS)) + "\n")
        for label, x in rows:
            file.write(f"{label}," + ",".join(f"{v:.5f}" for v in x) + "\n")


def draw(folder, kind, rate, share, seed, separation=SEPARATION):
    """Two normal classes, "rare" with the share `share`. Symmetric: each label is replaced with the rate. One-sided: each of
    a rare row. Returns the share of wrong labels."""
    rng = random.Random(f"{kind} {rate} {share} {seed}")

    def rows(count):
        result = []
        for _ in range(count):
            rare = rng.random() < share
            x = [rng.gauss(0, 1) for _ in range(COLUMNS)]
            x[0] += separation * rare
            result.append((rare, x))
        return result

    names = ["common", "rare"]
    train, wrong = [], 0
    for rare, x in rows(ROWS):
        flip = rng.random() < rate and (rare or kind == "symmetric")
        wrong += flip
        train.append((names[rare != flip], x))
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "train.csv", train)
    write(folder / "trusted.csv", [(names[rare], x) for rare, x in rows(TRUSTED)])
    return wrong / ROWS


def table(run, noise=NOISE, shares=SHARES, draws=DRAWS, separation=SEPARATION):
    lines = [f"{ROWS:,} rows of two normal classes {separation} standard deviations apart, {TRUSTED} trusted rows drawn as they were; in "
             f"{draws} draws each, how often the 95 % interval of `estimated_noise` holds the share of wrong labels, and the "
             "median of its half-width.", "",
             "| noise | rate | " + " | ".join(f"rare class {share}" for share in shares) + " |",
             "|---|---|" + "---|" * len(shares)]
    held_of_all, halves_of_all = 0, []
    for kind, rate in noise:
        cells = []
        for share in shares:
            held, halves = 0, []
            for seed in range(draws):
                folder = pathlib.Path(run.folder) / f"{kind}-{rate}-{share}-{seed}"
                wrong = draw(folder, kind, rate, share, seed, separation)
                low, high = run.bilevel(["clean", "--train", folder / "train.csv", "--trusted", folder / "trusted.csv", "--label",
                                         "label", "--no-baselines", "--seed", seed, "--out", folder / "run"])["estimated_noise_interval"]
                held += low <= wrong <= high
                halves.append((high - low) / 2)
            cells.append(f"{held} of {draws}, {statistics.median(halves):.3f}")
            held_of_all += held
            halves_of_all += halves
        lines.append(f"| {kind} | {rate} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + (f"\n\nIn all {held_of_all} of {len(halves_of_all)}; median half-width "
                               f"{statistics.median(halves_of_all):.3f}.\n")
