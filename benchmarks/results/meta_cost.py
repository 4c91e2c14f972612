"""A step of meta-learning over one encoder pass on as many rows."""

TITLE = "Cost of a step of meta-learning"
DEPENDS = ["bilevel/bench/meta.cpp", "bilevel/task/meta", "bilevel/problem", "bilevel/oracle", "bilevel/model",
           "bilevel/solver/adambo"]


def table(run):
    cases = run.bilevel(["bench", "meta", "--pairs", 5])["cases"]
    cells = {(c["encoder"], c["head"], c["shots"]): f"{c['ratio']:.3f} ({c['low']:.3f} to {c['high']:.3f})" for c in cases}
    lines = ["| encoder | head | 1 shot (1,100 rows): median (quartiles) | 5 shots (1,500 rows) |", "|---|---|---|---|"]
    for encoder, head in dict.fromkeys(key[:2] for key in cells):
        lines.append(f"| {encoder} | {head} | {cells[encoder, head, 1]} | {cells[encoder, head, 5]} |")
    return "\n".join(lines)
