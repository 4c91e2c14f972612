"""One regularizer per feature, learned by `bilevel tune`, against the best single L2 of a 50-point grid.

    python benchmarks/tune.py PROGRAM DATA_FOLDER OUT_FOLDER [names] [seeds] [more options of bilevel tune ...]

Five seeds a data set, each with its own cut of the rows; per data set the losses and passes of both, and the mean of
learned minus grid with its 95 % interval (Student's t over the seeds). The grid may spend as many passes as it wants:
its weights are trained by L-BFGS, from strong to weak, each point from the weights of the one before, until the
largest gradient component is below 1e-7 or for 100 evaluations.
"""

import json
import math
import os
import statistics
import subprocess
import sys

T975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
FILES = {  # training and validation rows are cut from the first file; the second is for testing
    "a9a": ["libsvm/a9a.gz", "libsvm/a9a.t.gz"],
    "agaricus": ["libsvm/agaricus.train.gz", "libsvm/agaricus.test.gz"],
    "german": ["libsvm/german.numer_scale.gz"],
    "subj": ["sentence/subj.tsv.gz"],
}
SPLITS = {"german": "0.4,0.4,0.2", "subj": "0.6,0.2,0.2"}  # german has 1,000 rows: as many to validate as to train


def command(name, program, data, out, seed, more):
    files = [os.path.join(data, f) for f in FILES[name]]
    words = [program, "tune", "--train", files[0], "--out", out, "--seed", str(seed), "--threads", "1"]
    words += ["--baseline-passes", "50", "--json", "--quiet"]
    words += ["--test", files[1], "--split", "0.8,0.2,0"] if len(files) > 1 else ["--split", SPLITS[name]]
    words += ["--text", "text", "--label", "label"] if name == "subj" else ["--format", "libsvm"]
    return words + more


def interval(values):
    half = T975[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):+.6f} ± {half:.6f}"


def main():
    program, data, out = sys.argv[1:4]
    names = sys.argv[4].split(",") if len(sys.argv) > 4 else list(FILES)
    seeds = int(sys.argv[5]) if len(sys.argv) > 5 else 5
    more = sys.argv[6:]
    print("| data set | learned: valid / test loss | grid: valid / test loss | valid difference | test difference | passes, learned | passes, grid |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        runs = []
        for seed in range(seeds):
            folder = os.path.join(out, f"{name}-{seed}")
            done = subprocess.run(command(name, program, data, folder, seed, more), capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{name}, seed {seed}: {done.stderr}")
            runs.append(json.loads(done.stdout))
            r = runs[-1]
            print(name, seed, {p: round(r["metrics"][p]["loss"], 6) for p in ("valid", "test")},
                  {p: round(r["baselines"]["grid"][p]["loss"], 6) for p in ("valid", "test")},
                  {p: round(r["baselines"]["random"][p]["loss"], 6) for p in ("valid", "test")},
                  r["baselines"]["grid"]["strength"], r["baselines"]["grid"]["points"], r["passes_apart"],
                  r["baselines"]["grid"]["passes"], round(r["seconds"], 1), file=sys.stderr, flush=True)
        mean = lambda f: statistics.mean(f(r) for r in runs)
        learned = [mean(lambda r: r["metrics"][p]["loss"]) for p in ("valid", "test")]
        grid = [mean(lambda r: r["baselines"]["grid"][p]["loss"]) for p in ("valid", "test")]
        differences = [interval([r["metrics"][p]["loss"] - r["baselines"]["grid"][p]["loss"] for r in runs])
                       for p in ("valid", "test")]
        passes = [mean(lambda r: r["passes"]), mean(lambda r: r["baselines"]["grid"]["passes"])]
        print(f"| {name} | {learned[0]:.6f} / {learned[1]:.6f} | {grid[0]:.6f} / {grid[1]:.6f} | {differences[0]} "
              f"| {differences[1]} | {passes[0]:.0f} | {passes[1]:.0f} |", flush=True)


if __name__ == "__main__":
    main()
