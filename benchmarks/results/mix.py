"""Weights of sources learned by `bilevel mix` on sets whose best weights are known, beside the best ones."""
import csv
import statistics

TITLE = "Mixing: learned weights of sources beside the best ones"
DEPENDS = ["bilevel/task/mix", "bilevel/task/generate/sets.cpp", "bilevel/task/job", "bilevel/glm", "bilevel/problem",
           "bilevel/solver/adambo", "bilevel/solver/run.cpp", "bilevel/data"]
SEEDS, WITHIN = range(100, 120), 0.05
TARGET_ROWS = (4000, 20000)


def misses(run, target_rows):
    """By how much the weights miss the best ones at most, for each seed."""
    found = []
    for seed in SEEDS:
        folder = f"made-{target_rows}-{seed}"
        run.bilevel(["data", "generate", "mixing", "--rows", 5000, "--valid-rows", target_rows, "--test-rows", 20, "--seed", seed,
                     "--out", folder])
        with open(run.folder / folder / "truth.tsv", encoding="utf-8", newline="\n") as file:
            best = {row["source"]: float(row["weight"]) for row in csv.DictReader(file, delimiter="\t")}
        summary = run.bilevel(["mix", "--target", f"{folder}/target.csv", "--sources", f"{folder}/sources.csv", "--source", "source",
                               "--label", "label", "--no-target-trains", "--no-baselines", "--no-intervals", "--seed", seed, "--out",
                               f"mixed-{target_rows}-{seed}"])
        found.append(max(abs(source["weight"] - best[source["name"]]) for source in summary["sources"]))
    return found


def table(run):
    lines = ["Three sources of 5,000 rows each that label by different rules, 20 seeds; miss: the largest difference of a weight from "
             "the best one.", "", f"| target rows | mean miss | largest miss | within {WITHIN} |", "|---|---|---|---|"]
    for target_rows in TARGET_ROWS:
        found = misses(run, target_rows)
        lines.append(f"| {target_rows:,} | {statistics.mean(found):.3f} | {max(found):.3f} | "
                     f"{sum(miss < WITHIN for miss in found)} of {len(found)} |")
    return "\n".join(lines)
