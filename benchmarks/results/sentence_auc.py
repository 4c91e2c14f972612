"""`bilevel auc` with n-grams and the vectors of a sentence encoder, beside logistic regression on n-grams, over ten cuts."""
import os
import pathlib
import random
import statistics

from _text import rows_of, write

TITLE = "Sentence encoder: test AUC"
DEPENDS = ["benchmarks/results/sentence_auc.py", "bilevel/data/ngrams.cpp", "bilevel/data/word_piece.cpp", "bilevel/model/bert.cpp",
           "bilevel/task/auc", "bilevel/task/sentence_encoder.cpp", "bilevel/task/sentence_features.cpp",
           "bilevel/solver/adambo"]
CUTS = range(100, 110)
STRENGTHS = (.01, .1, 1, 10, 100)


def labelled(run, path, label, part=None):
    """Pairs of label and text, each text once."""
    header, rows = rows_of(run.data(path))
    if part is not None:
        rows = [row for row in rows if row[header.index("part")] == part]
    first = {}
    for row in rows:
        first.setdefault(row[header.index("text")], row[header.index(label)])
    return [(value, text) for text, value in first.items()]


def trec(run):
    return labelled(run, "sentence/trec_train.tsv.gz", "label") + labelled(run, "sentence/trec_test.tsv.gz", "label")


# Name: rows, positive values, positive and negative training rows (None: 80 % as they are), the bar.
SETS = {
    "Sentiment140": (lambda run: labelled(run, "sentiment140/train_sample.tsv.gz", "target", "random"), "4", (1000, 4000), .01),
    "MR, 5 % positive": (lambda run: labelled(run, "sentence/mr.tsv.gz", "label"), "1", (200, 3800), .01),
    "SUBJ, 5 % positive": (lambda run: labelled(run, "sentence/subj.tsv.gz", "label"), "1", (200, 3800), .01),
    "SMS": (lambda run: labelled(run, "sms_spam/sms.tsv.gz", "label"), "spam", None, None),
    **{f"TREC, class {c}": (trec, c, None, None) for c in "012345"},
}
MOST_TEST = 2000


def cut(rows, positive, counts, seed):
    """Training and test rows."""
    rows = list(rows)
    random.Random(seed).shuffle(rows)
    test, rest = rows[:min(MOST_TEST, len(rows) // 5)], rows[min(MOST_TEST, len(rows) // 5):]
    if counts is not None:
        of_class = {y: [row for row in rest if (row[0] == positive) == y] for y in (True, False)}
        rest = of_class[True][:counts[0]] + of_class[False][:counts[1]]
        random.Random(seed).shuffle(rest)
    return rest, test


def logistic(run, train, test, positive):
    """Test AUC of the C that is best on the test rows, which flatters it; words, their pairs, and characters within words."""
    sparse, text = run.module("scipy.sparse"), run.module("sklearn.feature_extraction.text")
    fit, roc = run.module("sklearn.linear_model").LogisticRegression, run.module("sklearn.metrics").roc_auc_score
    blocks = [text.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),
              text.TfidfVectorizer(ngram_range=(2, 4), analyzer="char_wb", sublinear_tf=True)]
    train_x = sparse.hstack([block.fit_transform([t for _, t in train]) for block in blocks]).tocsr()
    test_x = sparse.hstack([block.transform([t for _, t in test]) for block in blocks]).tocsr()
    train_y, test_y = ([label == positive for label, _ in rows] for rows in (train, test))
    return max(roc(test_y, fit(C=c, solver="liblinear").fit(train_x, train_y).decision_function(test_x)) for c in STRENGTHS)


def line(run, name):
    read, positive, counts, bar = SETS[name]
    rows, own, other = read(run), [], []
    for seed in CUTS:
        train, test = cut(rows, positive, counts, seed)
        for part, kept in (("train.tsv", train), ("test.tsv", test)):
            write(run.folder / part, ["label", "text"], kept)
        found = run.bilevel(["auc", "--train", "train.tsv", "--test", "test.tsv", "--text", "text", "--label", "label", "--positive",
                             positive, "--sentence-encoder", "minilm", "--seed", seed,
                             "--out", f"{name.replace(' ', '-')}-{seed}"])
        own.append(found["metrics"]["test"]["auc"])
        other.append(logistic(run, train, test, positive))
    gains = [a - b for a, b in zip(own, other)]
    error = statistics.stdev(gains) / len(gains) ** .5
    reached = statistics.mean(gains) >= (bar if bar is not None else -error)
    asked = f">= {bar}" if bar is not None else f">= -{error:.4f}"
    return (f"| {name} | {len(train):,} | {statistics.mean(own):.4f} | {statistics.mean(other):.4f} | {run.shown(gains, 4, sign=True)} | "
            f"{asked}: {'yes' if reached else 'no'} |")


def table(run, sets=None):
    os.environ.setdefault("BILEVEL_ENCODER_CACHE", str(pathlib.Path(run.folder) / "vectors"))
    lines = ["Mean test AUC of ten cuts. `auc` with its defaults and `--sentence-encoder minilm`, on n-grams and vectors; logistic "
             "regression on TF-IDF of words, their pairs and characters, with the C of five that is best on the test rows, which flatters "
             "it. The gain with its 95 % interval over cuts; the bar is .01, or for SMS and TREC not below by more than one standard "
             "error.", "", "| set | training rows | `auc` | logistic regression | gain | bar |", "|---|---|---|---|---|---|"]
    return "\n".join(lines + [line(run, name) for name in (sets or SETS)])
