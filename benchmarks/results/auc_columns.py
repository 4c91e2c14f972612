"""`bilevel auc` on columns, at its defaults, against its own baselines (logistic regression, gradient boosting) and a random forest.

Ten stratified 70/30 splits; see auc_tables for the interval of a mean difference. The forest has 200 trees, scikit-learn's other defaults
and columns as in auc_tables.
"""
import gzip
import statistics

import auc_tables

TITLE = "Columns: the default encoder against trees"
DEPENDS = ["benchmarks/results/auc_tables.py", "bilevel/task/auc", "bilevel/task/job", "bilevel/problem", "bilevel/solver/adambo",
           "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model"]
SETS = {"pima-indians-diabetes": "1", "german": "2", "phoneme": "1", "magic04": "h", "a9a": "1"}
SEED = 300


def row(run, name):
    np = run.module("numpy")
    forest, roc = run.module("sklearn.ensemble").RandomForestClassifier, run.module("sklearn.metrics").roc_auc_score
    cut = run.module("sklearn.model_selection").StratifiedShuffleSplit(
        auc_tables.SPLITS, test_size=auc_tables.TEST_SHARE, random_state=SEED)
    table, positive = name in auc_tables.TABLES, SETS[name]
    with gzip.open(run.data(f"tabular/{name}.csv.gz" if table else f"libsvm/{name}.gz"), "rt") as file:
        rows = file.read().splitlines()
    y = np.array([(line.split(",")[-1] if table else line.split()[0].lstrip("+")) == positive for line in rows], int)
    found = {"model": [], "logistic_regression": [], "gradient_boosting": [], "forest": []}
    suffix = ".csv" if table else ".libsvm"
    for split, (train, test) in enumerate(cut.split(np.zeros(len(y)), y)):
        x = (auc_tables.design if table else auc_tables.design_libsvm)(np, rows, train)
        fit = forest(200, random_state=split, n_jobs=1).fit(x[train], y[train])
        found["forest"].append(roc(y[test], fit.predict_proba(x[test])[:, 1]))
        for part, picked in (("train", train), ("test", test)):
            (run.folder / f"{name}-{part}{suffix}").write_text("".join(rows[i] + "\n" for i in picked))
        words = ["auc", "--train", f"{name}-train{suffix}", "--test", f"{name}-test{suffix}", "--positive", positive,
                 "--threads", "1", "--jobs", "1", "--seed", SEED + split, "--out", f"{name}-{split}"]
        if table:
            words += ["--label", len(rows[0].split(",")), "--no-header"]
        summary = run.bilevel(words)
        found["model"].append(summary["metrics"]["test"]["auc"])
        for baseline in ("logistic_regression", "gradient_boosting"):
            found[baseline].append(summary["baselines"][baseline]["test_auc"])
    best = max((key for key in found if key != "model"), key=lambda key: statistics.mean(found[key]))
    means = [f"{statistics.mean(values):.4f}" for values in found.values()]
    return f"| {name} | {' | '.join(means)} | {auc_tables.difference(found['model'], found[best])} ({best.replace('_', ' ')}) |"


def table(run):
    return "\n".join([
        "| data set | `bilevel auc` | logistic regression | gradient boosting | forest | less the best of the three |",
        "|---|---|---|---|---|---|", *[row(run, name) for name in SETS]])
