"""Weights of sources learned by `bilevel mix`, beside equal ones, all rows alike, the target alone and the best single source.

Reviews of FDU-MTL: each of the 16 domains in turn is the target, with 100 labelled rows drawn from its training rows; the training
rows of the other domains are the sources, the domain's own test rows the test. Five draws. A test row is right or wrong by
each mixture; the intervals of differences are over the 80 runs of a domain and a draw.
"""
import random
import statistics

from _text import rows_of, write

TITLE = "Mixing: learned weights of sources beside the usual ones"
DEPENDS = ["bilevel/task/mix", "bilevel/task/job", "bilevel/glm", "bilevel/problem", "bilevel/solver/adambo",
           "bilevel/solver/run.cpp", "bilevel/data"]
DRAWS, TARGET_ROWS = range(100, 105), 100
NAMES = {"uniform": "equal weights", "proportional": "all rows alike", "target": "the target alone",
         "best_source": "best single source"}
FEATURES = {"n-grams": [], "sentence encoder": ["--sentence-encoder", "minilm", "--features-from", "encoder"]}


def cut(run, header, rows, domain, draw):
    """Files of one run, in its folder: target, sources, test."""
    at, split = header.index("domain"), header.index("split")
    of = {part: [row for row in rows if row[at] == domain and row[split] == part] for part in ("train", "test")}
    sources = [row for row in rows if row[at] != domain and row[split] == "train"]
    target = random.Random(f"{domain} {draw}").sample(of["train"], TARGET_ROWS)
    for name, part in (("target", target), ("sources", sources), ("test", of["test"])):
        write(run.folder / f"{name}.tsv", header, part)


def measure(run, header, rows, features):
    """{domain: [{mixture: test accuracy} of each draw]}."""
    found = {}
    for domain in sorted({row[header.index("domain")] for row in rows}):
        for draw in DRAWS:
            cut(run, header, rows, domain, draw)
            summary = run.bilevel(["mix", "--target", "target.tsv", "--sources", "sources.tsv", "--source", "domain", "--test",
                                   "test.tsv", "--text", "text", "--label", "label", "--no-intervals", *FEATURES[features],
                                   "--seed", draw, "--out", f"{features[0]}-{domain}-{draw}"])
            accuracies = {key: baseline["test"]["accuracy"] for key, baseline in summary["baselines"].items()}
            found.setdefault(domain, []).append({"learned": summary["metrics"]["test"]["accuracy"], **accuracies})
    return found


def line(run, features, found):
    runs = [one for draws in found.values() for one in draws]
    cells = [features, f"**{100 * statistics.mean(one['learned'] for one in runs):.2f}**"]
    for key in NAMES:
        gains = [100 * (one["learned"] - one[key]) for one in runs]
        below = sum(sum(run.mean_interval([one["learned"] - one[key] for one in draws])) < 0 for draws in found.values())
        cells.append(f"{100 * statistics.mean(one[key] for one in runs):.2f} ({run.shown(gains, 2, True)}; {below})")
    return f"| {' | '.join(cells)} |"


def table(run):
    header, rows = rows_of(run.data("amazon_fdu_mtl/fdu_mtl.tsv.gz"))
    rows = [row for row in rows if row[header.index("text")].strip()]
    return "\n".join([
        "FDU-MTL, 16 domains by five draws of 100 target rows: mean test accuracy in per cent. In brackets: by how much the learned "
        "weights are higher, over the 80 runs, and the number of domains on which they are lower by more than chance (five draws).", "",
        f"| features | learned | {' | '.join(NAMES.values())} |", f"|---|---|{'---|' * len(NAMES)}",
        *[line(run, features, measure(run, header, rows, features)) for features in FEATURES]])
