"""A lower level without a unique minimizer: a method that needs none, and one that is out of its theory."""

TITLE = "A lower level that is merely convex"
DEPENDS = ["bilevel/task/merely-convex", "bilevel/solver/sl-bamm", "bilevel/solver/adambo", "bilevel/solver/parts",
           "bilevel/solver/run.cpp", "bilevel/hypergrad", "bilevel/linear"]


def table(run):
    lines = ["| solver | distance to the solution, root mean square | within theory |", "|---|---|---|"]
    for words in (["--solver", "sl-bamm", "--steps", "10000"],
                  ["--solver", "adambo", "--steps", "300", "--set", "upper_step_size=0.05"]):
        summary = run.bilevel(["solve", "merely-convex", *words])
        lines.append(f"| {words[1]} | {summary['metrics']['distance']:.2g} | "
                     f"{'yes' if summary['within_theory'] else 'no: the program warns'} |")
    return "\n".join(lines)
