#!/usr/bin/env python3
"""Time and memory of jobs on files that are larger than the memory they may take.

Makes libsvm files (40 numbers a row, two classes that overlap) and tsv files (about twelve words a line, two classes), runs jobs on
them one after the other with one thread, and prints for each: seconds, the most anonymous memory of the process (what cannot be
dropped: RssAnon, read five times a second) and the most resident memory (with the pages of files, which can be: VmHWM), and the
job's figure.

  benchmarks/large_files.py --program build/bilevel --folder /some/disk --kind libsvm --rows 1000000 10000000 --job auc
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

CHUNKS = 4  # of a row, each taken from a pool: rows are made by joining, since formatting takes long
POOL = 20_000


def numbers_pool(generator, chunk, columns):
    """(text, what it adds to the score) of ten columns each."""
    pool = []
    for _ in range(POOL):
        values = [generator.gauss(0, 1) for _ in range(columns)]
        text = " ".join(f"{chunk * columns + j + 1}:{v:.3f}" for j, v in enumerate(values))
        pool.append((text, sum(v * (0.5 if j % 3 == 0 else 0.05) for j, v in enumerate(values))))
    return pool


def words_pool(generator, chunk):
    words = [f"w{i}" for i in range(3000)]
    pool = []
    for _ in range(POOL):
        picked = [words[int(generator.paretovariate(1.1)) % 3000] for _ in range(3)]
        score = sum(0.4 if int(word[1:]) % 7 == 0 else -0.05 for word in picked)
        pool.append((" ".join(picked), score))
    return pool


def make(path, kind, rows, seed):
    generator = random.Random(seed)
    pools = [numbers_pool(generator, c, 10) if kind == "libsvm" else words_pool(generator, c) for c in range(CHUNKS)]
    noise = [generator.gauss(0, 1.5) for _ in range(POOL)]
    with open(path, "w", buffering=1 << 20) as out:
        if kind == "tsv":
            out.write("label\ttext\n")
        pick = generator.random
        for i in range(rows):
            parts = [pool[int(pick() * POOL)] for pool in pools]
            positive = sum(p[1] for p in parts) + noise[int(pick() * POOL)] > 2.5
            if kind == "libsvm":
                out.write(f"{int(positive)} " + " ".join(p[0] for p in parts) + "\n")
            else:
                out.write(f"{'yes' if positive else 'no'}\t" + " ".join(p[0] for p in parts) + f" n{i % 1000003}\n")


def memory_of(pid, key):
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def run(command):
    peak = {"RssAnon:": 0, "VmHWM:": 0}
    begin = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def watch():
        while process.poll() is None:
            for key in peak:
                peak[key] = max(peak[key], memory_of(process.pid, key))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate()
    watcher.join()
    if process.returncode != 0:
        sys.exit(err[-2000:])
    return time.monotonic() - begin, peak["RssAnon:"], peak["VmHWM:"], json.loads(out)


def figure_of(job, summary):
    if job == "auc":
        return {"test_auc": summary["metrics"]["test"]["auc"], "baseline": summary["baselines"]["logistic_regression"]["test_auc"]}
    if job == "tune":
        return {"test_accuracy": summary["metrics"]["test"]["accuracy"]}
    return {"suspicious": summary["suspicious"], "estimated_noise": summary["estimated_noise"]}


def draw(path, measured):
    """Seconds and memory against rows, both on logarithmic scales, by gnuplot."""
    points = "\n".join(f"{m['rows']} {m['seconds']} {m['anonymous_mb']}" for m in measured)
    script = f"""
set terminal svg size 640,380 font 'sans,13' background '#ffffff'
set output '{path}'
set logscale xy
set key left top
set format x '%.0s%c'
set xlabel 'rows'
set grid
$measured << end
{points}
end
plot $measured using 1:2 with linespoints pt 7 title 'seconds', '' using 1:3 with linespoints pt 5 title 'anonymous memory, MB'
"""
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/bilevel")
    parser.add_argument("--folder", required=True, help="where files and outputs go; they are removed")
    parser.add_argument("--kind", choices=["libsvm", "tsv"], default="libsvm")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--job", choices=["auc", "clean", "tune"], default="auc")
    parser.add_argument("--keep", action="store_true", help="keep the data files")
    parser.add_argument("--plot", help="an SVG of seconds and memory against rows (gnuplot)")
    parser.add_argument("arguments", nargs="*", help="further arguments of the job, behind --")
    a = parser.parse_args()
    folder = pathlib.Path(a.folder)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    measured = []
    for rows in a.rows:
        data = folder / f"rows-{rows}.{a.kind}"
        if not data.exists():
            make(data, a.kind, rows, seed=rows)
        out = folder / "run"
        subprocess.run(["rm", "-rf", str(out)], check=True)
        columns = ["--label", "label", "--text", "text"] if a.kind == "tsv" else []
        positive = ["--positive", "yes" if a.kind == "tsv" else "1"] if a.job == "auc" else []
        seconds, anonymous, resident, summary = run(
            [a.program, a.job, "--train", str(data), *columns, *positive, "--threads", "1", "--jobs", "1", "--out", str(out), "--json",
             *a.arguments])
        measured.append({"job": a.job, "kind": a.kind, "rows": rows, "file_mb": round(data.stat().st_size / 1e6),
                         "seconds": round(seconds, 1), "anonymous_mb": round(anonymous / 1e6),
                         "resident_mb": round(resident / 1e6), **figure_of(a.job, summary)})
        print(json.dumps(measured[-1]), flush=True)
        subprocess.run(["rm", "-rf", str(out)], check=True)
        if not a.keep:
            data.unlink()
    if a.plot:
        draw(a.plot, measured)


if __name__ == "__main__":
    main()
