"""BO-REP beside AdamBO with a recurrent network below: one L2 strength of an rnn on SUBJ, four epochs, five seeds."""
import statistics

TITLE = "BO-REP beside AdamBO with a recurrent network below"
DEPENDS = ["bilevel/task/tune", "bilevel/task/job", "bilevel/problem", "bilevel/solver/adambo", "bilevel/solver/bo-rep",
           "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model"]
SEEDS = range(100, 105)


def table(run):
    lines = ["| solver | validation loss | test loss | test accuracy | learned strength | passes |", "|---|---|---|---|---|---|"]
    words = ["tune", "--train", run.data("sentence/subj.tsv.gz"), "--text", "text", "--label", "label", "--encoder", "rnn",
             "--tune", "l2", "--split", "0.6,0.2,0.2", "--epochs", "4", "--baseline-passes", "0"]
    for name, solver in (("adambo (Adam on the weights)", "adambo"), ("bo-rep (averaged SGD on the weights)", "bo-rep")):
        runs = [run.bilevel([*words, "--solver", solver, "--seed", seed, "--out", f"{solver}-{seed}"]) for seed in SEEDS]
        strengths = [r["learned"]["common_strength"] for r in runs]
        cells = [run.shown([r["metrics"][part][key] for r in runs], digits=4)
                 for part, key in (("valid", "loss"), ("test", "loss"), ("test", "accuracy"))]
        lines.append(f"| {name} | {' | '.join(cells)} | {min(strengths):.1e} to {max(strengths):.1e} | "
                     f"{statistics.mean(r['passes'] for r in runs):.0f} |")
    return "\n".join(lines)
