"""`bilevel compare` on the text job: every solver with the same trials and the same samples a run."""
import _text

TITLE = "`bilevel compare` on the text job"
DEPENDS = ["benchmarks/results/_text.py", "bilevel/solver", "bilevel/problem", "bilevel/task/auc", "bilevel/task/compare",
           "bilevel/model", "bilevel/data"]

SETTINGS = {  # encoder: options of the model and the budget, and how many of the test rows are scored
    "rnn": (["--encoder", "rnn", "--hidden", "32", "--samples", "20000"], 1200),
    "transformer": (["--encoder", "transformer", "--layers", "1", "--samples", "5000"], 1200),
}


def rows(summary):
    for entry in summary["table"]:
        def interval(value):
            return "–" if value is None else f"{value[0]:.3f} to {value[1]:.3f}"
        difference = entry["difference_to_best"]
        yield (f"| {entry['rank'] or '–'} | {entry['competitor']} | {entry['shown']} | {interval(entry['interval'])} | "
               f"{interval(difference and difference['interval'])} | {entry['steps']:.0f} | {entry['oracle_calls']['all']:.0f} |")


def table(run):
    words = _text.sentiment140(run)
    vectors = run.data("glove/glove.6B.50d.subset.txt.gz")
    lines = ["Frozen GloVe vectors; test AUC at the step that the validation rows choose, no refit. Three trials a solver (its",
             "defaults, another step size of x, another one with one option more) and three seeds, each with the same budget of",
             "samples. Trials and budgets are small, so that the table takes minutes: it says which solver gets going with",
             "little tuning, not where long runs end."]
    for encoder, (options, scored) in SETTINGS.items():
        if scored:
            path = run.folder / "test.tsv"
            with open(path, encoding="utf-8", newline="\n") as file:
                first = [line for _, line in zip(range(scored + 1), file)]
            path.write_text("".join(first), encoding="utf-8", newline="\n")
        summary = run.bilevel(["compare", "auc", *words, *options, "--embedding", vectors, "--solvers", "all", "--tune", "3",
                               "--seeds", "3", "--seed", "100", "--out", f"compare-{encoder}"])
        lines += ["", f"`{encoder}`" + (f", the first {scored:,} test rows" if scored else "") + ":", "",
                  "| rank | solver | test AUC, mean | 95 % interval | difference to the best | steps | calls |",
                  "|---|---|---|---|---|---|---|", *rows(summary)]
        lines += [f"\n{note[0].upper()}{note[1:]}." for note in summary["notes"]]
    return "\n".join(lines)
