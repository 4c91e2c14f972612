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
ROWS = 20_000         # to train (validation rows are cut from them)
TOKEN_ROWS = 8_000    # the same for the token encoders
WORDS = 12            # of a text, for the token encoders
TEST = (300, 3_000)   # positive and negative test rows; AUC does not mind their share
HIDDEN = 32           # of the token encoders


def write(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def columns(folder, seed, positives, rows=ROWS):
    """Three normal columns, two of which lie higher where the class is positive (by 1.5 and 0.7): training file, test
    file."""
    draw = random.Random(seed)

    def part(positive, negative):
        labels = [1] * positive + [0] * negative
        draw.shuffle(labels)
        return [[f"{draw.gauss(1.5 * y, 1):.3f}", f"{draw.gauss(0, 1):.3f}", f"{draw.gauss(0.7 * y, 1):.3f}", y]
                for y in labels]

    header = ["x1", "x2", "x3", "class"]
    return (write(folder / "train.csv", header, part(positives, rows - positives)),
            write(folder / "test.csv", header, part(*TEST)))


def headlines(run, folder, seed, positives, rows=ROWS):
    """A topic of HuffPost, drawn by the seed, against the forty others."""
    draw = random.Random(seed)
    with gzip.open(run.data("fewshot_topic/huffpost.tsv.gz"), "rt", encoding="utf-8") as file:
        pairs = [line.rstrip("\n").split("\t", 1) for line in file][1:]
    return texts(folder, draw, pairs, positives, rows, TEST)


def news(run, folder, seed, positives, rows=TOKEN_ROWS):
    """A topic of AG News, drawn by the seed, against the three others; the first words of each text."""
    draw = random.Random(seed)
    pairs = []
    for name in ("dev", "test"):
        with gzip.open(run.data(f"ag_news/{name}.tsv.gz"), "rt", encoding="utf-8") as file:
            pairs += [line.rstrip("\n").split("\t", 1) for line in file][1:]
    pairs = [(label, " ".join(text.split()[:WORDS])) for label, text in pairs]
    return texts(folder, draw, pairs, positives, rows, TEST)


def texts(folder, draw, pairs, positives, rows, test):
    topic = draw.choice(sorted({label for label, _ in pairs}))
    parts = {y: [text for label, text in pairs if (label == topic) == bool(y)] for y in (0, 1)}
    for part in parts.values():
        draw.shuffle(part)

    def cut(positive, negative):
        cut = [[parts[1].pop(), 1] for _ in range(positive)] + [[parts[0].pop(), 0] for _ in range(negative)]
        draw.shuffle(cut)
        return cut

    return (write(folder / "train.csv", ["text", "class"], cut(positives, rows - positives)),
            write(folder / "test.csv", ["text", "class"], cut(*test)))


def train(run, files, seed, encoder, more=()):
    """(test AUC, that of logistic regression)"""
    text = ["--text", "text"] if encoder not in ("linear", "mlp") else []
    out = run.bilevel(["auc", "--train", files[0], "--test", files[1], *text, "--label", "class", "--positive", 1,
                       "--encoder", encoder, *more, "--seed", seed, "--out", pathlib.Path(files[0]).parent / "out"])
    return out["metrics"]["test"]["auc"], out["baseline"]["test_auc"]


def in_folder(run, name):
    folder = pathlib.Path(run.folder) / name
    folder.mkdir(parents=True)
    return folder


def measure(run, encoder, positives, seeds=SEEDS):
    """A list of (default batches, the larger batches, logistic regression)."""
    token = encoder in ("gru", "transformer")
    rows = TOKEN_ROWS if token else ROWS
    found = []
    for seed in seeds:
        aucs = []
        larger = ["--batch-size", 10 * rows // positives if token else rows]
        for batch in ([], larger):
            folder = in_folder(run, f"{encoder}-{positives}-{seed}-{len(batch)}")
            if encoder in ("linear", "mlp"):
                files = columns(folder, seed, positives)
            elif encoder == "bag":
                files = headlines(run, folder, seed, positives)
            else:
                files = news(run, folder, seed, positives)
            aucs.append(train(run, files, seed, encoder, [*(["--hidden", HIDDEN] if token else []), *batch]))
        found.append((aucs[0][0], aucs[1][0], aucs[0][1]))
    return found


def line(encoder, positives, found):
    rows = TOKEN_ROWS if encoder in ("gru", "transformer") else ROWS
    means = [statistics.mean(column) for column in zip(*found)]
    return f"| `{encoder}` | {positives} of {rows:,} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |"


def table(run):
    lines = ["Mean test AUC of five draws, 300 positive and 3,000 negative test rows each. Default batches (512; 32 for `gru` "
             "and `transformer`) beside all rows as one batch (`linear`, `mlp`: generated columns; `bag`: a topic of HuffPost "
             "of 41) or batches with ten positive rows and the same number of rows drawn (`gru`, `transformer` with 32 hidden "
             "units: the first 12 words of AG News, a topic of 4).", "",
             "| encoder | positive rows | default batches | larger batches | logistic regression |", "|---|---|---|---|---|"]
    for encoder in ("linear", "mlp", "bag"):
        for positives in (10, 20, 100, 200):
            lines.append(line(encoder, positives, measure(run, encoder, positives)))
    for encoder in ("gru", "transformer"):
        for positives in (40, 80):
            lines.append(line(encoder, positives, measure(run, encoder, positives)))
    return "\n".join(lines)
