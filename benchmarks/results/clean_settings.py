"""`bilevel clean` beside cleanlab, the model of the trusted rows and the product of both, in eight settings.

Features are n-grams joined with vectors of all-MiniLM-L6-v2. 300 trusted rows are drawn from the training rows, of each text the first row is
kept, and labels are made wrong here. All rivals read the same features: cleanlab ranks and filters the out-of-fold probabilities that
the command leaves in out_of_fold.tsv (5 folds, logistic regression on the rows as given), and what it leaves is trained on, with the
trusted rows, by the same logistic regression. "Confident learning": what `find_label_issues` calls wrong comes first, each part by
self-confidence. The accuracy of "trusted model" is the better one, on the test rows, of a model of the trusted rows alone and of one
without the rows that it finds improbable. Every rival is measured with the strengths of its logistic regression in STRENGTHS, and the better
one by the figure itself, draw by draw, is taken, which flatters it (the accuracy of confident learning: with the strength that detects better). Without trusted rows cleanlab
has none either. Nothing was chosen on these rows but for SST-2 and TREC, whose texts chose the defaults of `clean` with trusted rows.
"""
import math
import random

import _clean

TITLE = "Cleaning: eight settings, beside cleanlab"
DEPENDS = _clean.DEPENDS + ["bilevel/glm", "bilevel/data"]
SEEDS = range(100, 110)
TRUSTED = 300
STRENGTHS = (1, 10)  # of the L2 term of the rivals, in rows: the default and more, which suits noisy labels better
# name: training file, test file (none: a fifth of the rows), training rows at most, noise, share
SETTINGS = {
    "SST-2, symmetric": ("sentence/sst2_train", "sentence/sst2_test", None, "symmetric", 0.4),
    "TREC, symmetric": ("sentence/trec_train", "sentence/trec_test", None, "symmetric", 0.4),
    "MR, symmetric": ("sentence/mr", None, None, "symmetric", 0.4),
    "AG News, symmetric": ("ag_news/dev", "ag_news/test", 7000, "symmetric", 0.4),
    "SUBJ, one-sided": ("sentence/subj", None, None, "one-sided", 0.3),
    "SMS, one-sided": ("sms_spam/sms", None, None, "one-sided", 0.3),
    "TREC, by class pair": ("sentence/trec_train", "sentence/trec_test", None, "pair", 0.4),
    "AG News, by class pair": ("ag_news/dev", "ag_news/test", 7000, "pair", 0.4),
}
RIVALS = ["no bilevel part", "cleanlab, confident learning", "cleanlab, self-confidence", "trusted model", "product"]


def rows_of(run, name):
    """(label, text) of each different text."""
    header, lines = _clean.read(run.data(name + ".tsv.gz"))
    label, text = (header.split("\t").index(column) for column in ("label", "text"))
    known = {}
    for line in lines:
        cells = line.split("\t")
        known.setdefault(cells[text], cells[label])
    return [(label, text) for text, label in known.items()]


def made_wrong(labels, noise, share, draw):
    """Labels and whether each is wrong. one-sided: the rarer of two classes as the other; pair: each class as the next one."""
    classes = sorted(set(labels))
    rarer = min(classes, key=lambda name: (labels.count(name), name))
    given = []
    for label in labels:
        if draw.random() >= share or (noise == "one-sided" and label != rarer):
            given.append(label)
        elif noise == "pair":
            given.append(classes[(classes.index(label) + 1) % len(classes)])
        else:
            given.append(draw.choice([name for name in classes if name != label]))
    return given, [a != b for a, b in zip(given, labels)]


class Draw:
    def __init__(self, run, name, seed):
        train, test, most, noise, share = SETTINGS[name]
        draw = random.Random(seed)
        rows = rows_of(run, train)
        draw.shuffle(rows)
        if test is None:
            cut = len(rows) // 5
            self.test, rows = rows[:cut], rows[cut:]
        else:
            self.test = rows_of(run, test)
        known = {text for _, text in self.test}
        rows = [row for row in rows if row[1] not in known]
        self.trusted, rows = rows[:TRUSTED], rows[TRUSTED:][:most]
        self.texts = [text for _, text in rows]
        self.given, self.wrong = made_wrong([label for label, _ in rows], noise, share, draw)
        self.run, self.seed = run, seed
        self.folder = run.folder / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
        for part, of in (("train", zip(self.given, self.texts)), ("trusted", self.trusted), ("test", self.test)):
            _clean.write(self.folder / f"{part}.tsv", "label\ttext", [f"{label}\t{text}" for label, text in of])

    def clean(self, out, *more, train="train.tsv", trusted=True):
        words = ["clean", "--train", self.folder / train, "--test", self.folder / "test.tsv", "--text", "text", "--label", "label",
                 "--sentence-encoder", "minilm", "--threads", "1", "--jobs", "1", "--seed", self.seed, "--out", self.folder / out, *more]
        return self.run.bilevel(words + (["--trusted", self.folder / "trusted.tsv"] if trusted else []))

    def probabilities(self, out):
        rows = _clean.table_of(self.folder / out / "weights.tsv")
        return [float(row["probability"]) for row in rows]

    def auroc(self, scores):
        """Of scores that are high where a label is right."""
        from sklearn.metrics import roc_auc_score
        return float(roc_auc_score(self.wrong, [-score for score in scores]))

    def rivals(self, out, baselines):
        """Of what a run left: {rival: (detection AUROC, test accuracy)}, and what confident learning calls wrong."""
        import numpy
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
        table = _clean.table_of(self.folder / out / "out_of_fold.tsv")
        classes = [key[2:-1] for key in table[0] if key.startswith("p(")]
        labels, at = numpy.array([classes.index(label) for label in self.given]), numpy.arange(len(self.given))

        def read(prefix):
            p = numpy.array([[float(row[f"{prefix}({name})"]) for name in classes] for row in table])
            return p / p.sum(1, keepdims=True)

        by_others = read("p")
        quality = get_label_quality_scores(labels, by_others, method="self_confidence")
        issues = find_label_issues(labels, by_others, n_jobs=1)
        accuracy = {key: value["test"]["accuracy"] for key, value in baselines.items()}
        found = {"cleanlab, confident learning": (self.auroc(quality - issues), math.nan),
                 "cleanlab, self-confidence": (self.auroc(quality), accuracy["self_confidence"])}
        if "p_trusted_only(" + classes[0] + ")" in table[0]:
            by_trusted = read("p_trusted_only")
            found["trusted model"] = (self.auroc(by_trusted[at, labels]), max(accuracy["trusted_only"], accuracy["trusted_model"]))
            found["product"] = (self.auroc(by_others[at, labels] * by_trusted[at, labels]), accuracy["product"])
        return found, issues

    def measure(self):
        """{model: (detection AUROC, test accuracy)}; `untrusted` and `cleanlab, untrusted`: without trusted rows."""
        own = self.clean("own")
        fixed = self.clean("fixed", "--no-learn", "--baseline-l2", STRENGTHS[1])  # which is none of its own strengths
        by_strength = [self.rivals("own", own["baselines"]), self.rivals("fixed", fixed["baselines"])]
        found = {key: tuple(max(values) for values in zip(*[rivals[key] for rivals, _ in by_strength])) for key in by_strength[0][0]}
        better = max((0, 1), key=lambda i: by_strength[i][0]["cleanlab, confident learning"][0])
        kept = [f"{label}\t{text}" for label, text, out in zip(self.given, self.texts, by_strength[better][1]) if not out]
        _clean.write(self.folder / "kept.tsv", "label\ttext", kept)
        filtered = self.clean("kept", "--no-learn", "--baseline-l2", STRENGTHS[better], train="kept.tsv")
        found["cleanlab, confident learning"] = (found["cleanlab, confident learning"][0],
                                                 filtered["baselines"]["noisy_and_trusted"]["test"]["accuracy"])
        alone = self.clean("alone", "--baseline-l2", STRENGTHS[better], trusted=False)
        untrusted, _ = self.rivals("alone", alone["baselines"])
        return found | {"clean": (self.auroc(self.probabilities("own")), own["metrics"]["test"]["accuracy"]),
                        "no bilevel part": (self.auroc(self.probabilities("fixed")), fixed["metrics"]["test"]["accuracy"]),
                        "untrusted": (self.auroc(self.probabilities("alone")), alone["metrics"]["test"]["accuracy"]),
                        "cleanlab, untrusted": (max(auroc for auroc, _ in untrusted.values()), math.nan)}


def verdict(run, differences):
    mean, half = run.mean_interval(differences)
    return "better" if mean - half > 0 else "worse" if mean + half < 0 else "not told apart"


def shown(run, found, what):
    """The figure of `clean`, and its difference to the best rival, by mean, and to that without the bilevel part."""
    def values(key):
        return [one[key][what] for one in found]

    rivals = RIVALS[1:]
    best = max(rivals, key=lambda key: sum(values(key)))
    cells = [f"{sum(values('clean')) / len(found):.4f}"]
    for rival in (best, "no bilevel part"):
        differences = [a - b for a, b in zip(values("clean"), values(rival))]
        cells.append(f"{run.shown(differences, digits=4, sign=True)}, {verdict(run, differences)}"
                     + (f" ({rival})" if rival == best else ""))
    return cells


def row(run, name):
    found = [Draw(run, name, seed).measure() for seed in SEEDS]
    untrusted = [one["untrusted"][0] - one["cleanlab, untrusted"][0] for one in found]
    return (f"| {name} | {' | '.join(shown(run, found, 0))} | {' | '.join(shown(run, found, 1))} | "
            f"{run.shown(untrusted, digits=4, sign=True)}, {verdict(run, untrusted)} |")


def table(run):
    for name in ("sklearn", "cleanlab"):
        run.module(name)
    columns = ["setting", "detection AUROC", "less the best rival", "less no bilevel part", "test accuracy", "less the best rival",
               "less no bilevel part", "AUROC without trusted rows, less cleanlab"]
    return "\n".join([f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *[row(run, name) for name in SETTINGS]])
