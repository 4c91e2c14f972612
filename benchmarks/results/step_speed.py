"""An AdamBO step of the AUC problem over the bare encoder passes that it needs."""
import re

TITLE = "Speed: a step against the passes it needs"
DEPENDS = ["benchmarks/step_benchmark.cpp", "bilevel/task/auc", "bilevel/problem", "bilevel/oracle", "bilevel/solver/adambo",
           "bilevel/linear", "bilevel/model"]


def table(run):
    lines = ["| encoder | samples | step / bare passes: median (quartiles) |", "|---|---|---|"]
    found = re.findall(r"^(\w+) +(\w+) +step / bare passes: median ([\d.]+) \(quartiles ([\d.]+) to ([\d.]+)\)",
                       run.benchmark("step_benchmark", [31, 1]), re.MULTILINE)
    lines += [f"| {encoder} | {samples} | {median} ({low} to {high}) |" for encoder, samples, median, low, high in found]
    return "\n".join(lines)
