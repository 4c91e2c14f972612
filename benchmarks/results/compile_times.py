"""Compile times of the program and of one changed line, before and after the floors of the library were rebuilt."""
import os
import pathlib
import subprocess
import time

TITLE = "Compile times"
DEPENDS = ["CMakeLists.txt", "cmake"]
START = "352fb60"  # before the jobs, encoders and levels got their present shape
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LINES = {"a solver": "bilevel/solver/adambo/adambo.cpp", "a job": "bilevel/task/auc/auc_model.cpp",
         "`oracle/oracles.h`": "bilevel/oracle/oracles.h"}


def quietly(words, folder):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**os.environ, "CCACHE_DISABLE": "1"})
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def compile_seconds(folder, target, build="build"):
    """Sum over the steps of a build, whatever number ran at once; the target's own steps since the last call."""
    log = folder / build / ".ninja_log"
    known = set(log.read_text().splitlines()) if log.exists() else set()
    quietly(["ninja", "-C", build, "-j2", *target], folder)
    steps = {}
    for line in set(log.read_text().splitlines()) - known:
        if not line.startswith("#"):
            begin, end, _, output, _ = line.split("\t")
            steps[(begin, end)] = (int(end) - int(begin)) / 1000
    return sum(steps.values())


def touched(folder, path):
    time.sleep(1)
    with (folder / path).open("a") as file:
        file.write("// a changed line\n")


def measured(run, commit, options=()):
    folder = pathlib.Path(run.folder) / ("alone" if options else commit)
    quietly(["git", "clone", "-q", str(ROOT), str(folder)], run.folder)
    quietly(["git", "checkout", "-q", commit], folder)
    os.environ["CMAKE_ARGS"] = " ".join(options)
    quietly(["cmake/setup.sh"], folder)
    if options:  # every source alone: that source, the archive and the program
        found = {}
        for name, path in LINES.items():
            if path.endswith(".cpp"):
                target = [f"CMakeFiles/bilevel.dir/{path}.o"]
                compile_seconds(folder, target)
                touched(folder, path)
                found[name] = compile_seconds(folder, target)
        return found
    found = {"`make build`, all of it": compile_seconds(folder, ["bilevel_cli"])}
    for name, path in LINES.items():
        if (folder / path).exists():
            touched(folder, path)
            found[name] = compile_seconds(folder, ["bilevel_cli"])
    return found


def table(run):
    run._remember(["CCACHE_DISABLE=1", "ninja", "-C", "build", "-j2", "bilevel_cli"])
    before, now = measured(run, START), measured(run, "HEAD")
    alone = measured(run, "HEAD", ["-DBILEVEL_UNITY=OFF"])
    lines = ["| seconds of compiling and linking, summed over the steps | at 352fb60 | now | now, every source alone: that source |",
             "|---|---|---|---|"]
    shown = lambda found, name: f"{found[name]:.0f}" if name in found else "-"
    for name in now:
        what = name if name.startswith("`make") else f"one changed line in {name}"
        lines.append(f"| {what} | {shown(before, name)} | {shown(now, name)} | {shown(alone, name)} |")
    return "\n".join(lines)
