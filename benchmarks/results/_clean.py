"""What the tables of `bilevel clean` share: the draws of SST-2 and TREC, and the figures of a finished run."""
import csv
import gzip
import math
import pathlib
import random

DEPENDS = ["benchmarks/results/_clean.py", "bilevel/task/clean", "bilevel/task/job", "bilevel/task/features.cpp",
           "bilevel/solver", "bilevel/hypergrad", "bilevel/model"]
BASELINES = [("noisy_and_trusted", "noisy and trusted rows"), ("trusted_only", "trusted rows only"),
             ("self_confidence", "dropped by out-of-fold self-confidence"),
             ("trusted_model", "dropped by the trusted model"), ("product", "dropped by the product")]


def read(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        header, *rows = [line for line in file.read().split("\n") if line]
    return header, rows


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def text_of(row):
    return row.split("\t", 1)[1]


def draw(run, name, seed):
    """Files of one draw, as words of the command: 500 trusted rows, of the development file for SST-2, else of the
    training file. Rows to train on that repeat a trusted text are left out."""
    if name == "sst2":
        header, train = read(run.data("sentence/sst2_train.tsv.gz"))
        source = read(run.data("sentence/sst2_dev.tsv.gz"))[1]
        known = {text_of(row) for row in train}
        trusted = random.Random(seed).sample([row for row in source if text_of(row) not in known], 500)
    else:
        header, train = read(run.data("sentence/trec_train.tsv.gz"))
        trusted = random.Random(seed).sample(train, 500)
        known = {text_of(row) for row in trusted}
        train = [row for row in train if text_of(row) not in known]
    folder = pathlib.Path(run.folder) / f"{name}-{seed}"
    for part, rows in (("train", train), ("trusted", trusted),
                       ("test", read(run.data(f"sentence/{name}_test.tsv.gz"))[1])):
        write(folder / f"{part}.tsv", header, rows)
    words = [word for part in ("train", "trusted", "test") for word in (f"--{part}", folder / f"{part}.tsv")]
    return folder, [*words, "--text", "text", "--label", "label"]


def table_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def logistic_slope(x, y):
    """Slope of a logistic regression of y on x with an intercept, by Newton's method."""
    a = b = 0.0
    for _ in range(30):
        g0 = g1 = h00 = h01 = h11 = 0.0
        for value, right in zip(x, y):
            p = 1 / (1 + math.exp(-a - b * value))
            v, r = p * (1 - p), right - p
            g0, g1, h00, h01, h11 = g0 + r, g1 + r * value, h00 + v, h01 + v * value, h11 + v * value * value
        det = h00 * h11 - h01 * h01
        a, b = a + (h11 * g0 - h01 * g1) / det, b + (h00 * g1 - h01 * g0) / det
    return b


def judged(summary, folder, truth):
    """Of a run in `folder` with the true labels `truth`: slope of rightness on the log odds of `probability`; rows of
    probability below .1 and how many of them are right; for two classes, mean and squared standard error of the
    difference of the features' log odds of the true class, rows with a right less rows with a wrong label."""
    rows = table_of(pathlib.Path(folder) / "weights.tsv")
    odds = []
    for row in rows:
        p = min(max(float(row["probability"]), 1e-9), 1 - 1e-9)
        odds.append(math.log(p / (1 - p)))
    right = [row["given_label"] == label for row, label in zip(rows, truth)]
    low = [r for r, o in zip(right, odds) if o < math.log(1 / 9)]
    found = {"slope": logistic_slope(odds, right), "low": len(low), "low_right": sum(low), "difference": None}
    rates = summary["label_noise"]
    if len(rates) == 2:
        groups = {True: [], False: []}
        other = dict(zip(rates, reversed(list(rates))))
        for row, o, r in zip(rows, odds, right):
            given = row["given_label"]
            o -= math.log(rates[given][given]["rate"] / rates[other[given]][given]["rate"])
            groups[r].append(o if r else -o)
        mean = {r: sum(v) / len(v) for r, v in groups.items()}
        square = sum(sum((o - mean[r]) ** 2 for o in v) / (len(v) - 1) / len(v) for r, v in groups.items())
        found["difference"] = (mean[True] - mean[False], square)
    return found


def comparison(run, results):
    """The table of a run's summaries beside the usual methods, paired."""
    def column(values, digits=3, sign=False):
        return run.shown(values, digits, sign)
    own_auroc = [s["metrics"]["flips"]["auroc"] for s in results]
    own = [s["metrics"]["test"]["accuracy"] for s in results]
    own_loss = [s["metrics"]["test"]["loss"] for s in results]
    lines = ["| method | AUROC of the flips | difference | test accuracy | difference | test log loss | difference |",
             "|---|---|---|---|---|---|---|",
             f"| `bilevel clean` | {column(own_auroc)} | | {column(own)} | | {column(own_loss)} | |"]
    told = []
    for key, name in BASELINES:
        b = [s["baselines"][key] for s in results]
        auroc = [x["flips"]["auroc"] for x in b] if "flips" in b[0] else None
        accuracy, loss = [x["test"]["accuracy"] for x in b], [x["test"]["loss"] for x in b]
        differences = [x - y for x, y in zip(own, accuracy)]
        lines.append("| " + " | ".join([
            name, column(auroc) if auroc else "", column([x - y for x, y in zip(own_auroc, auroc)], 3, True) if auroc else "",
            column(accuracy), column(differences, 3, True), column(loss),
            column([x - y for x, y in zip(own_loss, loss)], 3, True)]) + " |")
        mean, half = run.mean_interval(differences)
        if abs(mean) <= half:
            told.append(name)
    text = "\n".join(lines) + "\n"
    if told:
        text += f"\nThe accuracy is not told apart from that of: {', '.join(told)}.\n"
    return text
