"""One regularizer per feature, learned by `bilevel tune`, against the best single L2 of a 50-point grid.

Five seeds a data set, each with its own cut of the rows. The grid may spend as many passes as it wants: its weights are
trained by L-BFGS, from strong to weak, each point from the weights of the one before, until the largest gradient
component is below 1e-7 or for 100 evaluations.
"""
import statistics

TITLE = "Tuning: one strength per feature against the best single one"
DEPENDS = ["bilevel/task/tune", "bilevel/task/job", "bilevel/problem", "bilevel/solver/adambo", "bilevel/solver/run.cpp",
           "bilevel/data", "bilevel/model"]
SEEDS = range(100, 105)
SETS = {  # training and validation rows are cut from the first file; the second is for testing
    "german.numer_scale (400 rows to train, 400 to validate, 200 to test)": ["libsvm/german.numer_scale.gz"],
    "agaricus (5,210 rows to train, 1,303 to validate, the test file)": ["libsvm/agaricus.train.gz",
                                                                         "libsvm/agaricus.test.gz"],
    "a9a (26,049 rows to train, 6,512 to validate, the test file)": ["libsvm/a9a.gz", "libsvm/a9a.t.gz"],
    "SUBJ (words and n-grams; 6,000 / 2,000 / 2,000 rows)": ["sentence/subj.tsv.gz"],
}


def words_of(run, files, seed):
    words = ["tune", "--train", run.data(files[0]), "--seed", seed, "--baseline-passes", "50", "--no-cross-fit",
             "--tune", "l2-per-feature"]
    words += ["--text", "text", "--label", "label"] if "subj" in files[0] else ["--format", "libsvm"]
    if len(files) > 1:
        return [*words, "--test", run.data(files[1]), "--split", "0.8,0.2,0"]
    # german has 1,000 rows: as many to validate as to train
    return [*words, "--split", "0.6,0.2,0.2" if "subj" in files[0] else "0.4,0.4,0.2"]


def digits(value):
    return f"{value:.7f}" if value < 1e-5 else f"{value:.6f}"


def row(run, name, files):
    runs = [run.bilevel([*words_of(run, files, seed), "--out", f"{len(files)}-{files[0].replace('/', '-')}-{seed}"])
            for seed in SEEDS]
    losses = {part: ([r["metrics"][part]["loss"] for r in runs], [r["baselines"]["grid"][part]["loss"] for r in runs])
              for part in ("valid", "test")}
    cells = [" / ".join(digits(statistics.mean(losses[part][which])) for part in losses) for which in (0, 1)]
    cells += [run.shown([own - grid for own, grid in zip(*losses[part])], digits=6, sign=True) for part in losses]
    cells += [f"{statistics.mean(r['passes'] for r in runs):.0f}",
              f"{statistics.mean(r['baselines']['grid']['passes'] for r in runs):.0f}"]
    return f"| {name} | {' | '.join(cells)} |"


def table(run):
    return "\n".join(["| data set | learned: valid / test loss | grid: valid / test loss | valid difference "
                      "| test difference | passes, learned | passes, grid |", "|---|---|---|---|---|---|---|",
                      *[row(run, name, files) for name, files in SETS.items()]])
