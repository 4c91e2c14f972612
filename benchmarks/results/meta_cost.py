"""Cost of a meta-batch over one encoder pass on the same rows."""
import re

TITLE = "Cost of a meta-batch"
DEPENDS = ["benchmarks/meta_benchmark.cpp", "bilevel/task/meta", "bilevel/problem", "bilevel/oracle", "bilevel/model"]


def table(run):
    found = re.findall(r"^(\w+) +(\w+) +(\d) shots, .*: median ([\d.]+) \(quartiles ([\d.]+) to ([\d.]+)\)",
                       run.benchmark("meta_benchmark", [5, 1]), re.MULTILINE)
    cells = {(encoder, head, shots): f"{median} ({low} to {high})" for encoder, head, shots, median, low, high in found}
    lines = ["| encoder | head | 1 shot (1,100 rows): median (quartiles) | 5 shots (1,500 rows) |", "|---|---|---|---|"]
    for encoder, head in dict.fromkeys(key[:2] for key in cells):
        lines.append(f"| {encoder} | {head} | {cells[encoder, head, '1']} | {cells[encoder, head, '5']} |")
    return "\n".join(lines)
