"""Texts with flipped labels: `bilevel clean` beside the usual methods."""
from _clean import DEPENDS as SHARED, comparison, draw

TITLE = "Cleaning: SST-2 and TREC"
DEPENDS = [*SHARED, "benchmarks/results/clean_text.py"]
SETS = [("sst2", "SST-2: all 6,920 training rows with 40 % flips, 500 random rows of the development file trusted, the test file of "
         "1,821.", 0.4),
        ("trec", "TREC, six classes: 500 random training rows trusted, the others with 50 % flips to another class, the test "
         "file of 500.", 0.5)]
SEEDS = range(100, 105)


def table(run, sets=SETS, seeds=SEEDS):
    parts = []
    for name, title, noise in sets:
        results = []
        for seed in seeds:
            folder, words = draw(run, name, seed)
            results.append(run.bilevel(["clean", *words, "--inject-noise", noise, "--seed", seed, "--out", folder / "run"]))
        flips = [s["metrics"]["flips"] for s in results]
        parts.append(
            f"{title} `difference`: `bilevel clean` less the method, paired over {len(results)} draws.\n\n{comparison(run, results)}\nOf the flips "
            f"{run.shown([100 * f['recall'] for f in flips], 1)} % are called suspicious, with a precision of "
            f"{run.shown([100 * f['precision'] for f in flips], 1)} %; the estimated share of wrong labels is "
            f"{run.shown([s['estimated_noise'] for s in results])} (true: about {noise}).\n")
    return "\n".join(parts)
