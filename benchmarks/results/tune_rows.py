"""`bilevel tune` against what one would search with otherwise, on new rows: scikit-learn's LogisticRegressionCV and Optuna.

Five cuts a data set (a fifth of the rows for testing, stratified; of equal texts the first is kept, so that test rows are new), the same
rows for all. Of `tune` the probabilities that `predict` gives: calibrated on the held-out predictions of its folds. The defaults of `tune` were chosen on
other sets: SST-2, MR, TREC and AG News for texts, tables of scikit-learn and KEEL for columns. The rivals read features of the same
kind, made here: of a number the value, standardized and cut at 3 standard deviations, and the normal score of its rank (two
distinct values: one feature, 0 or 1); of a text tf-idf of words and word pairs and of 2 to 4 characters within words, each block
with length 1/sqrt(2), not hashed. All choose by the log loss in five folds and are fitted again to all rows but the test rows.

LogisticRegressionCV: 10 strengths (C from 1e-4 to 1e4); l2 by lbfgs, l1 by liblinear, elastic net by saga at the shares 0.2, 0.5 and
0.8 (500 iterations; not for texts and tables above EN_NUMBERS numbers, where it takes hours). Optuna: trials of C in [1e-4, 1e4] and the
penalty (l2, l1, elastic net with a share; the last where it is above), TRIALS of them and as many more as fit into the time that `tune`
took; fewer where these take longer than that time and MOST_SECONDS.
"""
import csv
import gzip
import math
import pathlib
import random
import time
import warnings

TITLE = "Tuning: on new rows, against LogisticRegressionCV and Optuna"
DEPENDS = ["bilevel/task/tune", "bilevel/task/job", "bilevel/problem", "bilevel/glm", "bilevel/solver/adambo", "bilevel/data",
           "bilevel/model"]
SEEDS = range(100, 105)
SETS = {"german.numer": "libsvm/german.numer_scale.gz", "a9a": "libsvm/a9a.gz", "agaricus": "libsvm/agaricus.train.gz",
        "pima": "tabular/pima-indians-diabetes.csv.gz", "sonar": "tabular/sonar.csv.gz",
        "ionosphere": "tabular/ionosphere.csv.gz", "SUBJ": "sentence/subj.tsv.gz", "SMS": "sms_spam/sms.tsv.gz"}
EN_NUMBERS = 200_000
TRIALS, MOST_SECONDS = 100, 60
RIVALS = {"l2": "LogisticRegressionCV, l2", "l1": "l1", "elastic net": "elastic net", "optuna": "Optuna"}


# ---- rows ----

def rows_of(path):
    """The header of a table (None: LIBSVM, "": made up), its lines, their labels, and what a rival reads of them."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if line]
    if "libsvm" in path:
        return None, lines, [float(line.split()[0]) > 0 for line in lines], [line.split()[1:] for line in lines]
    if path.endswith(".csv.gz"):
        cells = [next(csv.reader([line])) for line in lines]
        header = ",".join([f"c{i}" for i in range(len(cells[0]) - 1)] + ["label"])
        labels = [row[-1] for row in cells]
        return header, lines, [label == max(labels) for label in labels], [[float(v) for v in row[:-1]] for row in cells]
    label, text = (lines[0].split("\t").index(name) for name in ("label", "text"))
    known = {}
    for line in lines[1:]:
        known.setdefault(line.split("\t")[text], line)
    header, lines = lines[0], list(known.values())
    cells = [line.split("\t") for line in lines]
    labels = [row[label] for row in cells]
    return header, lines, [value == max(labels) for value in labels], [row[text] for row in cells]


def cut(labels, seed):
    """Training and test rows: a fifth of each class tests."""
    draw, test = random.Random(seed), set()
    for label in (False, True):
        own = [i for i, value in enumerate(labels) if value == label]
        test.update(draw.sample(own, round(len(own) / 5)))
    return [i for i in range(len(labels)) if i not in test], sorted(test)


# ---- features of the rivals ----

def column_features(numpy, train, test):
    from scipy.special import ndtri
    from scipy.stats import rankdata
    made = []
    for own, other in zip(train.T, test.T):
        values = numpy.unique(own)
        if len(values) == 2:
            made.append((own == values[1], other >= values[1]))
        elif len(values) > 2:
            made.append([numpy.clip((part - own.mean()) / own.std(), -3, 3) for part in (own, other)])
            score = ndtri((rankdata(own) - 0.5) / len(own))
            at = numpy.array([score[own == value][0] for value in values])
            made.append([numpy.interp(part, values, at) for part in (own, other)])
    return [numpy.array([pair[part] for pair in made], float).T for part in (0, 1)]


def features(run, raw, train, test):
    numpy = run.module("numpy")
    if isinstance(raw[0], str):
        from scipy.sparse import hstack
        from sklearn.feature_extraction.text import TfidfVectorizer
        blocks = [TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\w+"),
                  TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)]
        texts = [[raw[i] for i in part] for part in (train, test)]
        made = [(block.fit_transform(texts[0]), block.transform(texts[1])) for block in blocks]
        return [hstack([pair[part] for pair in made]).tocsr() / math.sqrt(2) for part in (0, 1)]
    if isinstance(raw[0][0], str):
        pairs = [[entry.split(":") for entry in row] for row in raw]
        dense = numpy.zeros((len(raw), max(int(p[0]) for row in pairs for p in row)))
        for i, row in enumerate(pairs):
            for index, value in row:
                dense[i, int(index) - 1] = float(value)
    else:
        dense = numpy.array(raw)
    return column_features(numpy, dense[train], dense[test])


# ---- models ----

def figures(probabilities, labels):
    """Mean -log p, accuracy and AUC of the positive class's probabilities."""
    import numpy
    from sklearn.metrics import roc_auc_score
    p = numpy.where(labels, probabilities, 1 - probabilities).clip(1e-12)
    return {"loss": float(-numpy.log(p).mean()), "accuracy": float(((probabilities > 0.5) == labels).mean()),
            "auc": float(roc_auc_score(labels, probabilities))}


def logistic(penalty, c, share=0.5):
    from sklearn.linear_model import LogisticRegression
    if penalty == "l2":
        return LogisticRegression(C=c, max_iter=1000)
    if penalty == "l1":
        return LogisticRegression(C=c, l1_ratio=1, solver="liblinear")
    return LogisticRegression(C=c, l1_ratio=share, solver="saga", max_iter=500)


def cross_validated(penalty, folds, x, y):
    from sklearn.linear_model import LogisticRegressionCV
    how = {"l2": {"l1_ratios": (0,), "solver": "lbfgs", "max_iter": 1000}, "l1": {"l1_ratios": (1,), "solver": "liblinear"},
           "elastic net": {"l1_ratios": (0.2, 0.5, 0.8), "solver": "saga", "max_iter": 500}}[penalty]
    return LogisticRegressionCV(Cs=10, cv=folds, scoring="neg_log_loss", use_legacy_attributes=False, **how).fit(x, y)


def optuna_best(run, penalties, folds, x, y, seed, seconds):
    """The model of the best trial, fitted to all rows, and the number of trials."""
    from sklearn.model_selection import cross_val_score
    optuna = run.module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    begin = time.monotonic()

    def model(trial):
        penalty = trial.suggest_categorical("penalty", penalties)
        share = trial.suggest_float("share", 0, 1) if penalty == "elastic net" else 0.5
        return logistic(penalty, trial.suggest_float("c", 1e-4, 1e4, log=True), share)

    def stop(study, _):
        if len(study.trials) >= TRIALS and time.monotonic() - begin >= seconds:
            study.stop()

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(lambda trial: cross_val_score(model(trial), x, y, cv=folds, scoring="neg_log_loss").mean(),
                   timeout=max(seconds, MOST_SECONDS), callbacks=[stop])
    return model(optuna.trial.FixedTrial(study.best_params)).fit(x, y), len(study.trials)


class Cut:
    """One cut of a data set: files for the program, features for the rivals."""

    def __init__(self, run, name, seed):
        numpy = run.module("numpy")
        run.module("sklearn")
        run.module("optuna")
        from sklearn.model_selection import StratifiedKFold
        self.run, self.name, self.seed = run, name, seed
        header, lines, labels, raw = rows_of(run.data(SETS[name]))
        self.train, self.test = cut(labels, seed)
        suffix = "libsvm" if header is None else "csv" if "," in header else "tsv"
        self.words = ["tune", "--jobs", "1", "--seed", seed, "--baseline-passes", "0"]
        for part, rows in (("train", self.train), ("test", self.test)):
            path = pathlib.Path(run.folder) / f"{name}-{seed}-{part}.{suffix}"
            path.write_text("\n".join(([header] if header else []) + [lines[i] for i in rows]) + "\n", encoding="utf-8")
            self.words += [f"--{part}", path]
        self.words += [] if header is None else ["--label", "label"] + (["--text", "text"] if suffix == "tsv" else [])
        self.y, self.test_y = numpy.array(labels)[self.train], numpy.array(labels)[self.test]
        self.x, self.test_x = features(run, raw, self.train, self.test)
        self.folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        small = not hasattr(self.x, "tocsr") and self.x.size <= EN_NUMBERS
        self.penalties = ["l2", "l1", "elastic net"] if small else ["l2", "l1"]

    def models(self):
        return ["tune", *self.penalties, "optuna"]

    def measure(self, key, seconds):
        """Figures on the test rows, and seconds; `seconds`: those of `tune`."""
        warnings.filterwarnings("ignore")  # of what has not converged after its iterations
        begin = time.monotonic()
        if key == "tune":
            own = self.run.bilevel([*self.words, "--out", f"{self.name}-{self.seed}"])
            return {**own["metrics"]["test_calibrated"], "seconds": time.monotonic() - begin, "settled": own.get("settled"),
                    "uncalibrated": own["metrics"]["test"]["loss"]}
        count = None
        if key == "optuna":
            model, count = optuna_best(self.run, self.penalties, self.folds, self.x, self.y, self.seed, seconds)
        else:
            model = cross_validated(key, self.folds, self.x, self.y)
        return {**figures(model.predict_proba(self.test_x)[:, 1], self.test_y), "seconds": time.monotonic() - begin,
                "trials": count}


def measure(run, name, seed):
    """Of one cut, by model: loss, accuracy, AUC on the test rows, and seconds."""
    one, found = Cut(run, name, seed), {}
    for key in one.models():
        found[key] = one.measure(key, found.get("tune", {}).get("seconds"))
    return found


# ---- the table ----

def verdict(mean, half):
    return "better" if mean + half < 0 else "worse" if mean - half > 0 else "not told apart"


def row(run, name):
    cuts = [measure(run, name, seed) for seed in SEEDS]

    def mean(key, what):
        return sum(one[key][what] for one in cuts) / len(cuts)

    cells = [f"{mean('tune', 'loss'):.5f} / {100 * mean('tune', 'accuracy'):.2f} % / {mean('tune', 'auc'):.4f}"]
    for rival in RIVALS:
        if rival not in cuts[0]:
            cells.append("not run")
            continue
        differences = [one["tune"]["loss"] - one[rival]["loss"] for one in cuts]
        cells.append(f"{run.shown(differences, digits=5, sign=True)}, {verdict(*run.mean_interval(differences))}")
    seconds = [f"{mean(key, 'seconds'):.0f}" if key in cuts[0] else "-" for key in ("tune", "l2", "l1", "elastic net")]
    kept = sum((one["tune"]["settled"] or {}).get("kept") == "learned" for one in cuts)
    return f"| {name} | {' | '.join(cells)} | {kept} of {len(cuts)} | {' / '.join(seconds)} |"


def table(run):
    names = [f"less {name}" for name in RIVALS.values()]
    return "\n".join([f"| data set | tune: test loss / accuracy / AUC | {' | '.join(names)} | more than a common strength kept "
                      "| seconds: tune / l2 / l1 / elastic net |", "|---" * (len(RIVALS) + 4) + "|",
                      *[row(run, name) for name in SETS]])
