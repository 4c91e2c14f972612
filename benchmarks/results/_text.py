"""Text files that several tables use, cut from the data folder into the folder of a run."""
import csv
import gzip


def rows_of(path):
    """Header and rows of a tab-separated file, as lists of cells."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        header, *rows = (line.rstrip("\n").split("\t") for line in file)
    return header, rows


def write(path, header, rows):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(row) + "\n" for row in [header, *rows])


def sentiment140(run):
    """train.tsv and test.tsv of part `random`: in file order, of the first 14,000 rows the first 1,000 positive (4) and
    4,000 negative (0) ones to train, the other 5,999 to test."""
    header, rows = rows_of(run.data("sentiment140/train_sample.tsv.gz"))
    rows = [row for row in rows if row[header.index("part")] == "random"]
    label = header.index("target")
    first = {value: [i for i, row in enumerate(rows[:14000]) if row[label] == value] for value in "04"}
    kept = sorted(first["4"][:1000] + first["0"][:4000])
    write(run.folder / "train.tsv", header, [rows[i] for i in kept])
    write(run.folder / "test.tsv", header, rows[14000:])
    return ["--train", "train.tsv", "--test", "test.tsv", "--text", "text", "--label", "target", "--positive", "4"]


def sms(run):
    """sms_train.tsv and sms_test.tsv: the first 4,000 rows to train, the others to test."""
    header, rows = rows_of(run.data("sms_spam/sms.tsv.gz"))
    write(run.folder / "sms_train.tsv", header, rows[:4000])
    write(run.folder / "sms_test.tsv", header, rows[4000:])
    return ["--train", "sms_train.tsv", "--test", "sms_test.tsv", "--text", "text", "--label", "label",
            "--positive", "spam"]


def tfidf_reference(run, out, options):
    """Test AUC of TF-IDF (words, 1- and 2-grams) logistic regression on the rows of a finished `bilevel auc` run in the
    folder `out`: the C of {.01, .1, 1, 10, 100} that is best on the test rows, which flatters it."""
    vectorizer = run.module("sklearn.feature_extraction.text").TfidfVectorizer(ngram_range=(1, 2))
    regression, roc = run.module("sklearn.linear_model").LogisticRegression, run.module("sklearn.metrics").roc_auc_score
    predictions = (run.folder / out / "predictions.tsv").read_text(encoding="utf-8").splitlines()[1:]
    test = {tuple(line.split("\t")[:2]) for line in predictions}
    parts = {True: ([], []), False: ([], [])}
    for path in filter(None, (options["train"], options["test"])):
        with open(run.folder / path, encoding="utf-8", newline="\n") as file:
            for line, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE), start=2):
                texts, labels = parts[(path, str(line)) in test]
                texts.append(row[options["text"]])
                labels.append(row[options["label"]] == options["positive"])
    train_x, test_x = vectorizer.fit_transform(parts[False][0]), vectorizer.transform(parts[True][0])
    fits = (regression(C=c, max_iter=2000).fit(train_x, parts[False][1]) for c in (.01, .1, 1, 10, 100))
    return max(roc(parts[True][1], fit.decision_function(test_x)) for fit in fits)
