"""Options of the few-shot data sets, by the data folder's files."""
import _text


def glove(run):
    return ["--embedding", run.data("glove/glove.6B.50d.subset.txt.gz"), "--train-embedding"]


def huffpost(run):
    return ["--data", run.data("fewshot_topic/huffpost.tsv.gz"), "--text", "text", "--label", "label", "--ways", "5",
            "--queries", "5", "--train-classes", "0-19", "--valid-classes", "20-24", "--test-classes", "25-40"]


def fdu(run):
    return ["--data", run.data("amazon_fdu_mtl/fdu_mtl.tsv.gz"), "--text", "text", "--label", "label", "--domain", "domain",
            "--test-classes", "books,dvd,electronics,kitchen_housewares"]


def arsc(run):
    """TRAIN are the other domains but musical_instruments and tools_hardware, whose class -1 has 11 and 3 rows."""
    path = run.data("amazon_arsc/arsc_t2.tsv.gz")
    header, rows = _text.rows_of(path)
    test = ["books", "dvd", "electronics", "kitchen_housewares"]
    valid = ["apparel", "beauty", "toys_games"]
    left_out = {*test, *valid, "musical_instruments", "tools_hardware"}
    train = sorted({row[header.index("domain")] for row in rows} - left_out)
    return ["--data", path, "--text", "text", "--label", "label", "--domain", "domain", "--test-classes", ",".join(test),
            "--valid-classes", ",".join(valid), "--train-classes", ",".join(train)]


def snli(run):
    return ["--data", run.data("nli/snli_validation.tsv.gz"), "--test", run.data("nli/snli_test.tsv.gz"),
            "--text", "premise", "--pair", "hypothesis", "--label", "label"]
