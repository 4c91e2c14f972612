"""`bilevel clean --weight-per group` on made texts of five sources, of which one is wrong in 60 % of its labels."""
import random

import _clean

TITLE = "Cleaning: a source of wrong labels, by its weight"
DEPENDS = _clean.DEPENDS + ["bilevel/glm", "bilevel/task/generate"]
SEEDS, SOURCES, WRONG, SHARE = range(100, 120), 5, "source3", 0.6


def measure(run, seed):
    """The wrong source's weight and interval, and those of the others."""
    folder = run.folder / f"made-{seed}"
    run.bilevel(["data", "generate", "cleaning", "--rows", 2000, "--noise", 0, "--trusted-rows", 200, "--test-rows", 200, "--seed", seed,
                 "--out", folder])
    header, *lines = (folder / "train.tsv").read_text(encoding="utf-8").rstrip("\n").split("\n")
    at = header.split("\t").index("label")
    rows = [line.split("\t") for line in lines]
    classes, draw = sorted({row[at] for row in rows}), random.Random(seed)
    for row in rows:
        row.append(f"source{draw.randrange(SOURCES) + 1}")
        if row[-1] == WRONG and draw.random() < SHARE:
            row[at] = draw.choice([name for name in classes if name != row[at]])
    _clean.write(folder / "train.tsv", header + "\tsource", ["\t".join(row) for row in rows])
    words = ["clean", "--train", folder / "train.tsv", "--trusted", folder / "trusted.tsv", "--text", "text", "--label", "label",
             "--weight-per", "group", "--group", "source", "--no-baselines", "--seed", seed, "--out", folder / "run"]
    learned = run.bilevel(words)["learned"]
    both = {name: (weight, *learned["weight_intervals"][name]) for name, weight in learned["weights"].items()}
    return both.pop(WRONG), list(both.values())


def table(run):
    found = [measure(run, seed) for seed in SEEDS]
    lowest = sum(all(wrong[0] < other[0] for other in others) for wrong, others in found)
    apart = sum(all(wrong[2] < other[1] for other in others) for wrong, others in found)
    own = sorted(wrong[0] for wrong, _ in found)
    right = sorted(other[0] for _, others in found for other in others)
    half = len(own) // 2
    return "\n".join([
        "| the wrong source has the lowest weight | its interval lies below those of all others | its median weight | that of the others |",
        "|---|---|---|---|",
        f"| {lowest} of {len(found)} | {apart} of {len(found)} | {own[half]:.2f} | {right[len(right) // 2]:.2f} |"])
