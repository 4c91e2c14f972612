"""Every solver on a quadratic and on P1, with the same schedule and step sizes that nobody tuned."""

TITLE = "Quadratics and P1, a seed nobody tuned"
DEPENDS = ["bilevel/solver", "bilevel/oracle", "bilevel/linear", "bilevel/hypergrad", "bilevel/task/quadratic", "bilevel/task/p1",
           "bilevel/task/compare"]

COMMON = ["--solvers", "all", "--steps", "400", "--seed", "101", "--seeds", "5", "--set", "schedule=cosine",
          "--set", "sl-bamm.aggregation_weight=0"]
# Theories that let the smoothness in x grow with the gradient allow a step size that overshoots for the others.
UNBOUNDED = ["adambo", "vr-adambo", "accbo", "slip", "bo-rep"]


def table(run):
    quadratic = run.bilevel(["compare", "quadratic", "--lower-curvature-min", "0.5", *COMMON, "--set",
                             "upper_step_size=0.1", "--out", "quadratic"])
    steps = [word for name in UNBOUNDED for word in ("--set", f"{name}.upper_step_size=0.05")]
    p1 = run.bilevel(["compare", "p1", "--start", "1.4,-0.9,0.6,-1.2", *COMMON, "--set", "upper_step_size=0.0035",
                      *steps, "--out", "p1"])
    ends = [{entry["competitor"]: entry for entry in summary["table"]} for summary in (quadratic, p1)]

    def shown(entry):
        if entry["interval"] is None:
            return entry["shown"]
        low, high = entry["interval"]
        return f"{entry['shown']} ({low:.3g} to {high:.3g})"

    lines = ["The norm of the true hypergradient, its mean over the last 40 of 400 steps with a cosine schedule. Nothing is random",
             "but the truncation of ttsa and sustain, which have a 95 % interval over five seeds; digits that change when the start",
             "moves by a billionth are left out. Upper step size: quadratic 0.1; P1 0.05 for the first five rows, whose theory allows",
             "unbounded smoothness, else 0.0035 (a tenth of 1/Phi'' at the start). sl-bamm has `aggregation_weight=0`.", "",
             "| solver | quadratic | P1 |", "|---|---|---|"]
    lines += [f"| {name} | {shown(ends[0][name])} | {shown(ends[1][name])} |"
              for name in UNBOUNDED + [name for name in ends[0] if name not in UNBOUNDED]]
    return "\n".join(lines)
