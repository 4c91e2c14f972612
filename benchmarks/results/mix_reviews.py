"""Weights of sources learned by `bilevel mix` on reviews, beside equal ones, all rows alike, the target alone and the best single source.

FDU-MTL: each of the 16 domains in turn is the target, with 100 labelled rows drawn from its training rows; the training rows of the
other domains are the sources, the domain's own test rows the test; accuracy. ARSC: likewise by AUC, each domain with at least 200
rows to test; 100 target rows drawn from its rows but the test split's, at least five of each class. Five draws.
BILEVEL_ENCODER_CACHE=FOLDER in the environment keeps the vectors from run to run.
"""
import os
import pathlib
import random
import statistics

from _text import rows_of, write

TITLE = "Mixing: reviews of many domains"
DEPENDS = ["benchmarks/results/mix_reviews.py", "bilevel/task/mix", "bilevel/glm", "bilevel/model/bert.cpp", "bilevel/data/word_piece.cpp",
           "bilevel/solver/adambo"]
DRAWS, TARGET_ROWS, LEAST_OF_CLASS, LEAST_TEST = range(100, 105), 100, 5, 200
NAMES = {"uniform": "equal weights", "proportional": "all rows alike", "target": "the target alone",
         "best_source": "best single source"}
ENCODER = ["--sentence-encoder", "minilm", "--sentence-layers", 1, "--features-from", "encoder"]


def fdu_mtl(run):
    """Header, rows and domains."""
    header, rows = rows_of(run.data("amazon_fdu_mtl/fdu_mtl.tsv.gz"))
    rows = [row for row in rows if row[header.index("text")].strip()]
    return header, rows, sorted({row[header.index("domain")] for row in rows})


def arsc(run):
    header, rows = rows_of(run.data("amazon_arsc/arsc_t2.tsv.gz"))
    rows = [row for row in rows if row[header.index("text")].strip()]
    at, split, label = (header.index(name) for name in ("domain", "split", "label"))

    def serves(domain):
        test = [row for row in rows if row[at] == domain and row[split] == "test"]
        rest = [row[label] for row in rows if row[at] == domain and row[split] != "test"]
        return (len(test) >= LEAST_TEST and len(rest) >= TARGET_ROWS and
                min(rest.count(value) for value in ("1", "-1")) >= LEAST_OF_CLASS)
    return header, rows, [domain for domain in sorted({row[at] for row in rows}) if serves(domain)]


SETS = {"FDU-MTL": (fdu_mtl, "accuracy"), "ARSC": (arsc, "auc")}


def cut(run, header, rows, domain, draw):
    """Files of one run, in its folder: target, sources, test."""
    at, split, label = (header.index(name) for name in ("domain", "split", "label"))
    test = [row for row in rows if row[at] == domain and row[split] == "test"]
    rest = [row for row in rows if row[at] == domain and row[split] != "test"]
    sources = [row for row in rows if row[at] != domain and row[split] != "test"]
    chance = random.Random(f"{domain} {draw}")
    while True:
        target = chance.sample(rest, TARGET_ROWS)
        labels = [row[label] for row in target]
        if min(labels.count(value) for value in set(row[label] for row in rest)) >= LEAST_OF_CLASS:
            break
    for name, part in (("target", target), ("sources", sources), ("test", test)):
        write(run.folder / f"{name}.tsv", header, part)


def measure(run, name):
    """{domain: [{mixture: the measure of the test rows} of each draw]}."""
    read, measured = SETS[name]
    header, rows, domains = read(run)
    found = {}
    for domain in domains:
        for draw in DRAWS:
            cut(run, header, rows, domain, draw)
            summary = run.bilevel(["mix", "--target", "target.tsv", "--sources", "sources.tsv", "--source", "domain", "--test",
                                   "test.tsv", "--text", "text", "--label", "label", "--no-intervals", "--no-leave-out", *ENCODER,
                                   "--seed", draw, "--out", f"{name}-{domain}-{draw}"])
            others = {key: baseline["test"][measured] for key, baseline in summary["baselines"].items()}
            found.setdefault(domain, []).append({"learned": summary["metrics"]["test"][measured], **others})
    return found


def line(run, name):
    found = measure(run, name)
    runs = [one for draws in found.values() for one in draws]
    cells = [name, SETS[name][1], str(len(found)), f"**{100 * statistics.mean(one['learned'] for one in runs):.2f}**"]
    for key in NAMES:
        gains = [[100 * (one["learned"] - one[key]) for one in draws] for draws in found.values()]
        below = sum(sum(run.mean_interval(of)) < 0 for of in gains)
        by_domain = [statistics.mean(of) for of in gains]
        cells.append(f"{100 * statistics.mean(one[key] for one in runs):.2f} ({run.shown(by_domain, 2, True)}; {below})")
    return f"| {' | '.join(cells)} |"


def table(run, sets=None):
    os.environ.setdefault("BILEVEL_ENCODER_CACHE", str(pathlib.Path(run.folder) / "vectors"))
    return "\n".join([
        "Each domain in turn is the target, with 100 labelled rows, five draws, vectors of all-MiniLM-L6-v2 as features: the mean over domains "
        "and draws, in per cent. In brackets: by how much the learned weights are higher, with its 95 % interval over the domains' means, "
        "and the number of domains on which they are lower by more than chance (95 %, five draws).", "",
        f"| set | measure | domains | learned | {' | '.join(NAMES.values())} |", f"|---|---|---|---|{'---|' * len(NAMES)}",
        *[line(run, name) for name in (sets or SETS)]])
