"""Whether the probabilities that `auc`, `tune` and `clean` write for test rows are frequencies."""
import csv
import gzip
import random
import pathlib

from _clean import DEPENDS as SHARED

TITLE = "Are probabilities frequencies?"
DEPENDS = [*SHARED, "benchmarks/results/probabilities.py", "bilevel/task/auc", "bilevel/task/tune"]
# Paths of training rows and of test rows (None: 30 % cut from the first), header, extension, columns, positive class.
SETS = {
    "a9a": ("libsvm/a9a.gz", "libsvm/a9a.t.gz", False, "libsvm", [], "1"),
    "magic04": ("tabular/magic04.csv.gz", None, False, "csv", ["--label", "11"], "g"),
    "SST-2": ("sentence/sst2_train.tsv.gz", "sentence/sst2_test.tsv.gz", True, "tsv", ["--text", "text", "--label", "label"], "1"),
    "SMS": ("sms_spam/sms.tsv.gz", None, True, "tsv", ["--text", "text", "--label", "label"], "spam"),
    "AG News": ("ag_news/test.tsv.gz", None, True, "tsv", ["--text", "text", "--label", "label"], "Business"),
}
TRUSTED, NOISE, MOST = 400, "0.2", {"SST-2": 8000}  # rows, of wrong labels, training rows
BINS, DRAWS = 15, 300


def lines_of(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().splitlines()


def write_files(run, name, data):
    """train, trusted and test: names of files in the run's folder."""
    train, test, header, extension, *_ = data
    rows = lines_of(run.data(train))
    head, rows = (rows[:1], rows[1:]) if header else ([], rows)
    random.Random(name).shuffle(rows)
    if test is None:
        cut = len(rows) * 7 // 10
        rows, test_rows = rows[:cut], rows[cut:]
    else:
        test_rows = lines_of(run.data(test))[len(head):]
    parts = {"train": rows[TRUSTED:MOST.get(name)], "trusted": rows[:TRUSTED], "test": test_rows}
    stem = name.lower().replace(" ", "-")
    for part, own in parts.items():
        parts[part] = f"{stem}-{part}.{extension}"
        (run.folder / parts[part]).write_text("\n".join(head + own) + "\n", encoding="utf-8")
    return parts


def outcome(numpy, path, positive):
    """Probability of the positive class and whether it is right; without one, of the predicted class."""
    with open(path, encoding="utf-8", newline="\n") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    names = [column for column in rows[0] if column.startswith("p(")]
    p = numpy.array([[float(row[name]) for name in names] for row in rows])
    if positive is not None:
        return p[:, 0], numpy.array([float(row["label"] == positive) for row in rows])
    hit = [float(names[k][2:-1] == row["label"]) for k, row in zip(p.argmax(1), rows)]
    return p.max(1), numpy.array(hit)


def expected_error(numpy, p, hit):
    order = numpy.argsort(p, kind="stable")
    return sum(abs(p[part].sum() - hit[part].sum()) for part in numpy.array_split(order, BINS)) / len(p)


def slope_of(numpy, p, hit):
    """Of a logistic regression of the outcome on the log odds, and half of its 95 % interval; None where it does not end."""
    p = numpy.clip(p, 1e-9, 1 - 1e-9)
    x, w = numpy.c_[numpy.log(p / (1 - p)), numpy.ones_like(p)], numpy.array([1.0, 0.0])
    for _ in range(100):
        q = 1 / (1 + numpy.exp(-x @ w))
        hessian = (x * (q * (1 - q))[:, None]).T @ x
        if numpy.linalg.cond(hessian) > 1e14:
            return None
        step = numpy.linalg.solve(hessian, x.T @ (q - hit))
        w = w - step
        if abs(step).max() < 1e-10:
            break
    return w[0], 1.96 * numpy.linalg.inv(hessian)[0, 0] ** 0.5


def cells_of(numpy, p, hit):
    draws = numpy.random.default_rng(0)
    perfect = [expected_error(numpy, p, (draws.random(len(p)) < p).astype(float)) for _ in range(DRAWS)]
    error, bound = expected_error(numpy, p, hit), numpy.quantile(perfect, 0.95)
    slope = slope_of(numpy, p, hit)
    return [f"{len(p):,}", f"{error:.4f} {'<' if error < bound else '>'} {bound:.4f}",
            f"{slope[0]:.2f} +- {slope[1]:.2f}" if slope else "without bound"]


def table(run, sets=None):
    numpy = run.module("numpy")
    lines = [f"Expected calibration error on the test rows, in {BINS} bins of equally many rows, beside the 95 % quantile of the same error "
             f"when labels are drawn by the very probabilities ({DRAWS} draws); the slope of a logistic regression of the outcome on the log "
             "odds, and half of its 95 % interval. `auc`: of the positive class; `tune` and `clean`: of the predicted class. One run each; "
             "nothing was chosen on these sets. `clean`: "
             f"{TRUSTED} trusted rows, {100 * float(NOISE):.0f} % of the labels replaced by chance.", "",
             "| job | set | test rows | error, quantile | slope |", "|---|---|---|---|---|"]
    rows = {job: [] for job in ("auc", "tune", "clean")}
    for name, data in (sets or SETS).items():
        files = write_files(run, name, data)
        columns, positive = data[4], data[5]
        for job, own in {"auc": ["--positive", positive], "tune": ["--baseline-passes", "0"],
                         "clean": ["--trusted", files["trusted"], "--inject-noise", NOISE, "--no-baselines"]}.items():
            out = pathlib.Path(run.folder) / f"{name}-{job}"
            run.bilevel([job, "--train", files["train"], "--test", files["test"], *columns, *own, "--out", out])
            measured = outcome(numpy, out / "predictions.tsv", positive if job == "auc" else None)
            rows[job].append(f"| {job} | {name} | " + " | ".join(cells_of(numpy, *measured)) + " |")
    return "\n".join(lines + [line for job in rows for line in rows[job]])
