"""`bilevel auc` where a class has less than one row in a batch: the default batches against all rows at once, and, for
the token encoders, against batches that hold ten rare rows."""
import csv
import gzip
import pathlib
import random
import statistics

TITLE = "AUC at rare classes"
DEPENDS = ["bilevel/problem", "bilevel/solver/adambo", "bilevel/solver/parts", "bilevel/task/auc"]

SEEDS = range(100, 105)
ROWS, TOKEN_ROWS = 20_000, 4_000  # to train, validation rows included; the latter for gru and transformer
TEST = (300, 3_000)               # positive and negative test rows; AUC does not mind their share
STEPS = 200
SHARES = {"linear": (10, 20, 100, 200), "mlp": (10, 20, 100, 200), "bag": (10, 20, 100, 200),  # positive rows
          "gru": (20, 40), "transformer": (20, 40)}


def is_token(encoder):
    return encoder in ("gru", "transformer")


def write(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def columns(folder, seed, positives):
    """Three normal columns; the first and the third lie higher, by 1.5 and .7, where the class is positive."""
    draw = random.Random(seed)

    def part(positive, negative):
        labels = [1] * positive + [0] * negative
        draw.shuffle(labels)
        return [[f"{draw.gauss(1.5 * y, 1):.3f}", f"{draw.gauss(0, 1):.3f}", f"{draw.gauss(0.7 * y, 1):.3f}", y]
                for y in labels]

    header = ["x1", "x2", "x3", "class"]
    return (write(folder / "train.csv", header, part(positives, ROWS - positives)),
            write(folder / "test.csv", header, part(*TEST)))


def headlines(run, folder, seed, positives):
    """A topic of HuffPost, drawn by the seed, against the forty others."""
    draw = random.Random(seed)
    with gzip.open(run.data("fewshot_topic/huffpost.tsv.gz"), "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t", 1) for line in file][1:]
    topic = draw.choice(sorted({label for label, _ in pairs}))
    of_class = {y: [text for label, text in pairs if (label == topic) == bool(y)] for y in (0, 1)}
    for part in of_class.values():
        draw.shuffle(part)

    def cut(positive, negative):
        rows = [[of_class[1].pop(), 1] for _ in range(positive)] + [[of_class[0].pop(), 0] for _ in range(negative)]
        draw.shuffle(rows)
        return rows

    header = ["text", "class"]
    return (write(folder / "train.csv", header, cut(positives, ROWS - positives)),
            write(folder / "test.csv", header, cut(*TEST)))


def corpus(run, folder, seed, positives):
    """The program's own descriptions of games and other programs."""
    for name, positive, rows, own_seed in (("train", positives, TOKEN_ROWS, seed), ("test", TEST[0], sum(TEST), seed + 1000)):
        run.bilevel(["data", "generate", "imbalanced", "--rows", rows, "--test-rows", 20, "--positive-share", positive / rows,
                     "--seed", own_seed, "--out", folder / name])
    return str(folder / "train" / "train.tsv"), str(folder / "test" / "train.tsv")


def files_of(run, folder, encoder, seed, positives):
    folder.mkdir()
    if encoder in ("linear", "mlp"):
        return columns(folder, seed, positives)
    return (corpus if is_token(encoder) else headlines)(run, folder, seed, positives)


def train(run, folder, encoder, seed, files, batch_size=None):
    """(test AUC, that of logistic regression)"""
    task = {"linear": ["--label", "class", "--positive", 1], "bag": ["--text", "text", "--label", "class", "--positive", 1],
            "gru": ["--text", "description", "--label", "class", "--positive", "game", "--hidden", 32]}
    words = task.get(encoder, task["gru" if is_token(encoder) else "linear"])
    found = run.bilevel(["auc", "--train", files[0], "--test", files[1], *words, "--encoder", encoder, "--no-refit",
                         *([] if is_token(encoder) else ["--steps", STEPS]),
                         *(["--batch-size", batch_size] if batch_size else []), "--seed", seed,
                         "--out", folder / f"out-{batch_size}"])
    return found["metrics"]["test"]["auc"], found["baselines"]["logistic_regression"]["test_auc"]


def larger_batch(encoder, positives):
    """All rows at once; for the token encoders batches with ten positive rows."""
    return 10 * TOKEN_ROWS // positives if is_token(encoder) else ROWS


def line(run, encoder, positives):
    found = []
    for seed in SEEDS:
        folder = pathlib.Path(run.folder) / f"{encoder}-{positives}-{seed}"
        files = files_of(run, folder, encoder, seed, positives)
        own, logistic = train(run, folder, encoder, seed, files)
        larger, _ = train(run, folder, encoder, seed, files, larger_batch(encoder, positives))
        found.append((own, larger, own - larger, logistic))
    means = [statistics.mean(column) for column in zip(*found)]
    rows = TOKEN_ROWS if is_token(encoder) else ROWS
    return (f"| `{encoder}` | {positives} of {rows:,} | {means[0]:.3f} | {means[1]:.3f} | "
            f"{run.shown([row[2] for row in found], sign=True)} | {means[3]:.3f} |")


def table(run):
    lines = [f"Mean test AUC of five draws, {TEST[0]} positive and {TEST[1]:,} negative test rows each: default batches (512 rows; "
             "32 for `gru` and `transformer`) beside all rows as one batch (`linear` and `mlp` on generated columns, `bag` on a "
             f"topic of HuffPost against forty; {STEPS} steps, no refit) or, for the same number of rows drawn, beside batches with ten "
             "positive rows (`gru` and `transformer` with 32 hidden units, 8 epochs of the generated descriptions, no refit).",
             "", "| encoder | positive rows | default batches | larger batches | difference | logistic regression |",
             "|---|---|---|---|---|---|"]
    lines += [line(run, encoder, positives) for encoder, all_positives in SHARES.items() for positives in all_positives]
    return "\n".join(lines)
