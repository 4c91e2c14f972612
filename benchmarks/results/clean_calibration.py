"""Whether `probability` comes true."""
import math

from _clean import DEPENDS as SHARED, draw, judged, table_of

TITLE = "Cleaning: calibration"
DEPENDS = [*SHARED, "benchmarks/results/clean_calibration.py"]
SETS = [("sst2", "SST-2, 40 % flips", 0.4), ("trec", "TREC, 50 % flips", 0.5)]
SEEDS = range(110, 116)


def table(run, sets=SETS, seeds=SEEDS):
    lines = ["Six draws (500 trusted rows, flips and all else). Slope: that of a logistic regression of \"the given label is "
             "right\" on the log odds of `probability`; 1 is calibrated. z: the difference between rows whose labels were "
             "and were not flipped in the log odds of the true class by the features, in standard errors, over all draws; the flips are "
             "random, so all beyond 3 is a row's own label speaking for itself.", "",
             "| rows | slope, mean and 95 % interval | single slopes | pooled z | of rows with `probability` below .1 are right "
             "| estimated share of wrong labels | true share |", "|---|---|---|---|---|---|---|"]
    for name, title, noise in sets:
        found, shares, true_shares = [], [], []
        for seed in seeds:
            folder, words = draw(run, name, seed)
            summary = run.bilevel(["clean", *words, "--inject-noise", noise, "--seed", seed, "--no-baselines",
                                   "--out", folder / "run"])
            truth = [row["label"] for row in table_of(folder / "train.tsv")]
            given = [row["given_label"] for row in table_of(folder / "run" / "weights.tsv")]
            found.append(judged(summary, folder / "run", truth))
            shares.append(summary["estimated_noise"])
            true_shares.append(sum(a != b for a, b in zip(truth, given)) / len(truth))
        slopes = [f["slope"] for f in found]
        z = ""
        if found[0]["difference"]:
            z = f"{sum(f['difference'][0] for f in found) / math.sqrt(sum(f['difference'][1] for f in found)):.1f}"
        low = sum(f["low"] for f in found)
        lines.append(f"| {title} | {run.shown(slopes, 2)} | {', '.join(f'{s:.2f}' for s in slopes)} | {z} | "
                     f"{100 * sum(f['low_right'] for f in found) / max(low, 1):.1f} % of {low} | {run.shown(shares)} | "
                     f"{run.shown(true_shares)} |")
    return "\n".join(lines) + "\n"
