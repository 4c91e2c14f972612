"""`bilevel auc` with the encoders linear and mlp, at their defaults, against scikit-learn's logistic regression.

Ten stratified 70/30 splits of every table and LIBSVM file; logistic regression (C = 1, and the C in {.01, .1, 1, 10,
100} that is best on the test rows, which flatters it) reads standardized columns and one-hot categories. The splits
share rows: the interval of a mean difference takes the variance of Nadeau and Bengio, "Inference for the Generalization
Error" (Machine Learning 52, 2003): (1 / splits + test rows / training rows) times the variance over splits.
"""
import gzip
import math
import statistics

import make_results

TITLE = "Tables and LIBSVM: `linear` and `mlp` at their defaults"
DEPENDS = ["bilevel/task/auc", "bilevel/task/job", "bilevel/problem", "bilevel/solver/adambo", "bilevel/solver/run.cpp",
           "bilevel/data", "bilevel/model"]
SPLITS, TEST_SHARE = 10, 0.3
TABLES = {"haberman": "2", "sonar": "M", "ionosphere": "b", "pima-indians-diabetes": "1", "german": "2", "phoneme": "1",
          "magic04": "h"}
LIBSVM = {"heart_scale": "1", "german.numer_scale": "1", "agaricus.train": "1", "a9a": "1"}


def design(np, rows, train):
    """Numbers, and one-hot categories, of comma-separated rows without their last cell; standardized on `train`."""
    columns = []
    for cells in zip(*[row.split(",")[:-1] for row in rows]):
        try:
            columns.append(np.array(cells, float)[:, None])
        except ValueError:
            levels = sorted(set(np.array(cells)[train]))
            columns.append(np.array([[cell == level for level in levels] for cell in cells], float))
    return standardized(np.hstack(columns), train)


def design_libsvm(np, rows, train):
    entries = [[pair.split(":") for pair in row.split()[1:]] for row in rows]
    x = np.zeros((len(rows), max(int(i) for row in entries for i, _ in row)))
    for row, pairs in enumerate(entries):
        for index, value in pairs:
            x[row, int(index) - 1] = float(value)
    return standardized(x, train)


def standardized(x, train):
    deviation = x[train].std(0)
    keep = deviation > 0
    return (x[:, keep] - x[train][:, keep].mean(0)) / deviation[keep]


def difference(scores, reference):
    values = [score - r for score, r in zip(scores, reference)]
    error = math.sqrt((1 / SPLITS + TEST_SHARE / (1 - TEST_SHARE)) * statistics.variance(values))
    return f"{statistics.mean(values):+.4f} +- {make_results.student_t_975(SPLITS - 1) * error:.4f}"


def row(run, name):
    np = run.module("numpy")
    regression, roc = run.module("sklearn.linear_model").LogisticRegression, run.module("sklearn.metrics").roc_auc_score
    cut = run.module("sklearn.model_selection").StratifiedShuffleSplit(SPLITS, test_size=TEST_SHARE, random_state=100)
    table, positive = name in TABLES, (TABLES | LIBSVM)[name]
    with gzip.open(run.data(f"tabular/{name}.csv.gz" if table else f"libsvm/{name}.gz"), "rt") as file:
        rows = file.read().splitlines()
    y = np.array([(line.split(",")[-1] if table else line.split()[0].lstrip("+")) == positive for line in rows], int)
    scores, reference = {"linear": [], "mlp": []}, []
    suffix = ".csv" if table else ".libsvm"
    for split, (train, test) in enumerate(cut.split(np.zeros(len(y)), y)):
        x = (design if table else design_libsvm)(np, rows, train)
        cs = (1,) if name == "a9a" else (.01, .1, 1, 10, 100)  # a9a takes minutes a fit
        fits = {c: regression(C=c, max_iter=5000).fit(x[train], y[train]) for c in cs}
        aucs = {c: roc(y[test], fit.decision_function(x[test])) for c, fit in fits.items()}
        reference.append((aucs[1], max(aucs.values())))
        for part, picked in (("train", train), ("test", test)):
            (run.folder / f"{name}-{part}{suffix}").write_text("".join(rows[i] + "\n" for i in picked))
        for encoder, found in scores.items():
            words = ["auc", "--train", f"{name}-train{suffix}", "--test", f"{name}-test{suffix}", "--positive", positive,
                     "--encoder", encoder, "--seed", 100 + split, "--out", f"{name}-{encoder}-{split}"]
            if table:
                words += ["--label", len(rows[0].split(",")), "--no-header"]
            found.append(run.bilevel(words)["metrics"]["test"]["auc"])
    plain, best = (statistics.mean(column) for column in zip(*reference))
    cells = [f"{statistics.mean(found):.4f} | {difference(found, [r for r, _ in reference])}" for found in scores.values()]
    return f"| {name} | {plain:.4f} ({'C = 1 alone' if name == 'a9a' else f'{best:.4f}'}) | {' | '.join(cells)} |"


def table(run):
    return "\n".join(["| data set | logistic regression (best C on test) | `linear` | difference | `mlp` | difference |",
                      "|---|---|---|---|---|---|", *[row(run, name) for name in [*TABLES, *LIBSVM]]])
