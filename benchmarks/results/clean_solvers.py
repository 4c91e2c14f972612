"""Other solvers in the bilevel runs of `bilevel clean`."""
from _clean import DEPENDS as SHARED, draw

TITLE = "Cleaning: other solvers"
DEPENDS = [*SHARED, "benchmarks/results/clean_solvers.py"]
SOLVERS = ["adambo", "bo-rep", "sl-bamm"]
SEEDS = range(100, 105)


def table(run, solvers=SOLVERS, seeds=SEEDS):
    figures = {solver: [] for solver in solvers}
    for seed in seeds:
        folder, words = draw(run, "sst2", seed)
        for solver in solvers:
            s = run.bilevel(["clean", *words, "--inject-noise", 0.4, "--seed", seed, "--solver", solver, "--no-baselines",
                             "--out", folder / solver])
            figures[solver].append((s["metrics"]["flips"]["auroc"], s["metrics"]["test"]["accuracy"]))
    lines = ["SST-2 with 40 % flips; `difference`: the solver less AdamBO, paired over the draws.", "",
             "| solver | AUROC of the flips | difference | test accuracy | difference |", "|---|---|---|---|---|"]
    for solver in solvers:
        cells = [f"`{solver}`"]
        for i in (0, 1):
            values = [f[i] for f in figures[solver]]
            cells += [run.shown(values), "" if solver == solvers[0] else
                      run.shown([a - f[i] for a, f in zip(values, figures[solvers[0]])], 3, True)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
