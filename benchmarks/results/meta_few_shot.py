"""`bilevel meta` with AdamBO and ridge heads, beside the nearest class mean and the untrained encoder, on the same tasks."""
from _few_shot import arsc, fdu, glove, huffpost, snli

TITLE = "Few-shot learning"
DEPENDS = ["benchmarks/results/_few_shot.py", "bilevel/task/meta", "bilevel/task/job", "bilevel/problem",
           "bilevel/solver/adambo", "bilevel/solver/run.cpp", "bilevel/data", "bilevel/model"]
SEEDS = range(100, 105)


def wide(step):
    return ["--hidden", "128", "--set", f"upper_step_size={step}"]


def narrow(step):
    return ["--hidden", "64", "--set", f"upper_step_size={step}"]


TRANSFORMER = ["--encoder", "transformer"]
ROWS = [  # tasks, encoder, data, options
    ("HuffPost, 5 ways, 1 shot", "rnn", huffpost, ["--shots", 1, "--steps", 100, "--l2", 0.5, *wide(0.003)]),
    ("HuffPost, 5 ways, 1 shot", "transformer", huffpost,
     ["--shots", 1, "--steps", 100, "--l2", 0.5, *TRANSFORMER, *narrow(0.001)]),
    ("HuffPost, 5 ways, 5 shots", "rnn", huffpost, ["--shots", 5, "--steps", 120, "--l2", 0.05, *wide(0.003)]),
    ("HuffPost, 5 ways, 5 shots", "transformer", huffpost,
     ["--shots", 5, "--steps", 300, "--l2", 0.1, *TRANSFORMER, *narrow(0.001)]),
    ("FDU-MTL, 4 held-out domains, 5 shots", "rnn", fdu,
     ["--shots", 5, "--queries", 10, "--meta-batch", 10, "--steps", 150, "--l2", 1, *narrow(0.005)]),
    ("FDU-MTL, 4 held-out domains, 5 shots", "transformer", fdu,
     ["--shots", 5, "--queries", 10, "--meta-batch", 10, "--steps", 150, "--l2", 1, *TRANSFORMER, *narrow(0.002)]),
    ("ARSC, 4 held-out domains, 5 shots", "rnn", arsc,
     ["--shots", 5, "--queries", 5, "--steps", 150, "--l2", 1, *narrow(0.005)]),
    ("ARSC, 4 held-out domains, 5 shots", "transformer", arsc,
     ["--shots", 5, "--queries", 5, "--steps", 150, "--l2", 1, *TRANSFORMER, *narrow(0.002)]),
    ("SNLI, 3 ways, 5 shots", "rnn", snli,
     ["--shots", 5, "--queries", 10, "--meta-batch", 10, "--steps", 200, "--l2", 1, *wide(0.003)]),
    ("SNLI, 3 ways, 5 shots", "transformer", snli,
     ["--shots", 5, "--queries", 10, "--meta-batch", 10, "--steps", 200, "--l2", 1, *TRANSFORMER, *narrow(0.001)]),
]


def table(run):
    lines = ["| tasks | encoder | AdamBO | nearest mean | untrained | AdamBO less nearest mean | each |",
             "|---|---|---|---|---|---|---|"]
    for number, (tasks, encoder, data, options) in enumerate(ROWS):
        runs = [run.bilevel(["meta", *data(run), *glove(run), *options, "--seed", seed, "--out", f"{number}-{seed}"])
                for seed in SEEDS]
        own = [r["metrics"]["test"]["accuracy"] for r in runs]
        mean, untrained = ([r["baselines"][name]["accuracy"] for r in runs] for name in ("nearest_class_mean", "untrained"))
        above = sum(r["metrics"]["test"]["interval"][0] > max(r["baselines"][name]["interval"][1]
                                                              for name in ("nearest_class_mean", "untrained")) for r in runs)
        lines.append(f"| {tasks} | {encoder} | **{run.shown(own, 4)}** | {run.shown(mean, 4)} | {run.shown(untrained, 4)} | "
                     f"{run.shown([a - b for a, b in zip(own, mean)], 4)} | {above} of {len(runs)} |")
    return "\n".join(lines)
