#!/usr/bin/env python3
"""Makes the tables of docs/results.md, one script per table, and marks those that are out of date.

    make results [TABLES="NAME ..."] [DATA=FOLDER]     runs the scripts, all without TABLES
    make results-stale                                 runs nothing: lists the tables, marks what is stale

A script benchmarks/results/NAME.py defines

    TITLE           one line: the heading under which a new table is put
    DEPENDS         list of paths in the repository; a change under one of them makes the table stale
    table(run)      the Markdown of the table, from what `run` (class Run below) measures

and its table stands in docs/results.md between `<!-- table NAME -->` and `<!-- end NAME -->`, with the command lines
that ran, the commit, the date and, where sources have changed since, a line that says so. Files whose names begin with
'_' are shared by scripts and no tables. A table whose data or Python modules are missing is skipped, aloud.

Environment: BILEVEL_DATA, the data folder (--data); BILEVEL, the program (--program; default: build/bilevel).
Needs Python 3.9 and git; a script may need more.
"""
import argparse
import datetime
import importlib.util
import json
import math
import os
import pathlib
import re
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHOWN_COMMANDS = 8  # command lines in a block; the rest is counted


class Missing(Exception):
    """A data set or module that a table needs is not on this machine."""


# ---- statistics ----

def student_t_probability(t, degrees):
    """P(T <= t) for a whole number of degrees of freedom: the finite sums of Abramowitz & Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    term, total = (1, 1) if degrees % 2 == 0 else (math.cos(angle), math.cos(angle))
    for k in range(2 if degrees % 2 == 0 else 3, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    if degrees % 2 == 0:
        inside = math.sin(angle) * total
    else:
        inside = 2 / math.pi * (angle + (math.sin(angle) * total if degrees > 1 else 0))
    return 0.5 + inside / 2


def student_t_975(degrees):
    low, high = 0.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_probability(middle, degrees) < 0.975 else (low, middle)
    return low


# ---- what a script is handed ----

class Run:
    """Runs programs in a temporary folder and remembers their command lines."""

    def __init__(self, program, data, folder):
        """`program`: the path of bilevel; `data`: that of the data folder, or None."""
        self.program, self._data, self.folder = program, data, pathlib.Path(folder)
        self.commands = []  # without seeds and folders; each once, as they came

    def data(self, name):
        """The path of a file of the data folder. Throws Missing."""
        path = self._data / name if self._data else None
        if path is None or not path.exists():
            raise Missing(name if self._data else f"{name} (set BILEVEL_DATA)")
        return str(path)

    def bilevel(self, words, good=(0,)):
        """The JSON object that the program prints; `--json`, `--quiet`, `--threads 1` and `--jobs 1` are added where the
        command has them. Throws RuntimeError with the program's message for an exit code that is not in `good`."""
        words = [str(word) for word in words]
        self._remember(["bilevel", *words])
        added = [] if words[0] in ("bench", "check", "list", "data") else ["--quiet"]
        threaded = words[0] in ("auc", "clean", "tune", "meta", "mix", "solve") or words[:2] == ["compare", "auc"]
        if threaded and "--threads" not in words:
            added += ["--threads", "1"]
        if words[0] == "compare" and "--jobs" not in words:
            added += ["--jobs", "1"]  # tables show times
        return json.loads(self._output([self.program, *words, "--json", *added], good))

    def benchmark(self, name, words=(), environment=None):
        """What build/benchmarks/NAME prints."""
        words = [str(word) for word in words]
        self._remember([f"build/benchmarks/{name}", *words])
        return self._output([str(self.program.parent / "benchmarks" / name), *words], (0,), environment)

    def test(self, name):
        """Whether a test of the build passes. Throws Missing when it is not built."""
        self._remember(["ctest", "--test-dir", "build", "-R", f"^{name}$"])
        words = ["ctest", "--test-dir", str(self.program.parent), "-R", f"^{name}$"]
        done = subprocess.run(words, capture_output=True, text=True)
        if "No tests were found" in done.stdout + done.stderr or "Not Run" in done.stdout:
            raise Missing(f"the built test {name}")
        return done.returncode == 0

    def module(self, name):
        """A Python module that is not of the standard library. Throws Missing."""
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise Missing(f"Python module {name}") from error

    @staticmethod
    def mean_interval(values):
        """Mean and half-width of its 95 % interval: Student's t for independent, about normal values."""
        values = list(values)
        half = student_t_975(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        return statistics.mean(values), half

    @classmethod
    def shown(cls, values, digits=3, sign=False):
        """`0.123 +- 0.045`: mean and half-width."""
        mean, half = cls.mean_interval(values)
        return f"{mean:{'+' if sign else ''}.{digits}f} +- {half:.{digits}f}"

    def _output(self, words, good, environment=None):
        done = subprocess.run([str(word) for word in words], cwd=self.folder, text=True, stdin=subprocess.DEVNULL,
                              capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})})
        if done.returncode not in good:
            raise RuntimeError(f"{self.commands[-1]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def _remember(self, words):
        for folder in filter(None, (self._data, self.folder)):
            words = [word.replace(f"{folder}/", "") for word in words]
        shown = re.sub(r" --out \S+", "", re.sub(r"--seed \d+", "--seed S", shlex.join(words)))
        if shown not in self.commands:
            self.commands.append(shown)


# ---- blocks of the page ----

def marks(name):
    return f"<!-- table {name} -->", f"<!-- end {name} -->"


def block_of(page, name):
    """(begin, end) of what stands between the marks of a table, or None."""
    first, last = marks(name)
    begin, end = page.find(first), page.find(last)
    if begin < 0 and end < 0:
        return None
    if begin < 0 or end < begin or page.count(first) > 1 or page.count(last) > 1:
        raise SystemExit(f"docs/results.md: the marks of the table {name} are not one pair")
    return begin + len(first) + 1, end


def with_block(page, name, title, text):
    """The page with a table's block replaced, or with the table at its end."""
    found = block_of(page, name)
    if found:
        return page[:found[0]] + text + page[found[1]:]
    first, last = marks(name)
    return page.rstrip("\n") + f"\n\n## {title}\n\n{first}\n{text}{last}\n"


def commands_text(commands):
    if not commands:
        return ""
    lines = [f"    {command}" for command in commands[:SHOWN_COMMANDS]]
    if len(commands) > SHOWN_COMMANDS:
        lines.append(f"    # and {len(commands) - SHOWN_COMMANDS} more of the kind")
    return "\n\n" + "\n".join(lines)


def made_line(name, commit):
    return f"commit {commit}, {datetime.date.today().isoformat()}, command: `make results TABLES={name}`"


MADE = re.compile(r"^commit ([0-9a-f]+)(-dirty)?, .*$", re.MULTILINE)
STALE = re.compile(r"^\*\*Stale\*\*: .*\n\n?", re.MULTILINE)


# ---- git ----

def git(root, *words):
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def present_commit(root):
    """The commit, with `-dirty` where tracked or new files differ from it; the page itself does not count."""
    commit = git(root, "rev-parse", "--short=7", "HEAD")
    changes = git(root, "status", "--porcelain", "--", ".", ":!docs/results.md")
    return "unknown" if commit is None else commit + ("-dirty" if changes else "")


def changed(root, commit, paths):
    """Those of `paths` under which the working tree differs from a commit; None for a commit that is not known. Pages
    and, unless a path asks for them, tests do not count: no figure depends on them."""
    if git(root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        return None

    def differs(path):
        spec = ["--", path, ":!*.md", *([] if "_test" in path else [":!*_test.cpp"])]
        return git(root, "diff", "--name-only", commit, *spec) or git(root, "ls-files", "-o", "--exclude-standard", *spec)

    return [path for path in paths if differs(path)]


def stale_line(root, block, depends):
    """The line that a block needs, or an empty text."""
    made = MADE.search(block)
    if not made:
        return ""
    paths = changed(root, made[1], depends)
    if paths is None:
        return f"**Stale**: the commit {made[1]} is not in this repository\n\n"
    return f"**Stale**: sources changed since {made[1]}: {', '.join(f'`{p}`' for p in paths)}\n\n" if paths else ""


def marked(root, block, depends):
    """The block with the right line, or none, before that of its commit."""
    block = STALE.sub("", block)
    line = stale_line(root, block, depends)
    made = MADE.search(block)
    return block[:made.start()] + line + block[made.start():] if line else block


# ---- all tables ----

def scripts(root):
    """Name to module of every table's script."""
    found = {}
    sys.path.insert(0, str(root / "benchmarks" / "results"))  # for what scripts share
    for path in sorted((root / "benchmarks" / "results").glob("[!_]*.py")):
        spec = importlib.util.spec_from_file_location(f"results_{path.stem}", path)
        found[path.stem] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return found


def depends_of(name, module):
    return [f"benchmarks/results/{name}.py", *module.DEPENDS]


def mark_all(root, modules, page_path, say=print):
    """Rewrites the lines of what is stale, fills empty places, and says how every table stands. Returns the stale ones'
    names."""
    page, stale = page_path.read_text(encoding="utf-8"), []
    for name, module in modules.items():
        found = block_of(page, name)
        if not found:
            say(f"{name}: not in docs/results.md")
            continue
        block = page[found[0]:found[1]] or f"Not measured yet: `make results TABLES={name}`.\n"
        page = with_block(page, name, module.TITLE, marked(root, block, depends_of(name, module)))
        line = stale_line(root, STALE.sub("", block), depends_of(name, module)).strip()
        if line:
            stale.append(name)
        made = MADE.search(block)
        say(f"{name}: {line.replace('**', '') or ('made at ' + made[1] if made else 'never made')}")
    page_path.write_text(page, encoding="utf-8")
    return stale


def make(root, names, modules, program, data, say=print):
    """Runs scripts and writes their blocks, one after another. Returns the names of those that failed."""
    page_path, failed = root / "docs" / "results.md", []
    for name in names:
        module, began = modules[name], datetime.datetime.now()
        say(f"{name}: {module.TITLE}", flush=True)
        commit = present_commit(root)
        with tempfile.TemporaryDirectory(prefix="bilevel-results-") as folder:
            run = Run(program, data, folder)
            try:
                text = module.table(run).strip("\n")
            except Missing as what:
                say(f"{name}: SKIPPED, its old table stays: {what} is missing", flush=True)
                page = page_path.read_text(encoding="utf-8")
                if not block_of(page, name):
                    page_path.write_text(with_block(page, name, module.TITLE, f"Not measured: {what} was missing.\n"),
                                         encoding="utf-8")
                continue
            except Exception as error:  # the other tables are still to be made
                say(f"{name}: FAILED, its old table stays: {type(error).__name__}: {error}", flush=True)
                failed.append(name)
                continue
        block = f"{text}{commands_text(run.commands)}\n\n{made_line(name, commit)}\n"
        page = page_path.read_text(encoding="utf-8")  # now: a script may take long
        page_path.write_text(with_block(page, name, module.TITLE, block), encoding="utf-8")
        say(f"{name}: written after {(datetime.datetime.now() - began).total_seconds():.0f} s", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description="Makes the tables of docs/results.md.")
    parser.add_argument("tables", nargs="*", help="names of tables; default: all")
    parser.add_argument("--data", default=os.environ.get("BILEVEL_DATA", ""), help="the data folder")
    parser.add_argument("--program", default=os.environ.get("BILEVEL", str(ROOT / "build" / "bilevel")))
    parser.add_argument("--stale", action="store_true", help="run nothing; list the tables and mark what is stale")
    given = parser.parse_args()
    modules = scripts(ROOT)
    if given.stale:
        mark_all(ROOT, modules, ROOT / "docs" / "results.md")
        return
    unknown = [name for name in given.tables if name not in modules]
    if unknown:
        parser.error(f"there is no table {', '.join(unknown)}; there are: {', '.join(modules)}")
    data = pathlib.Path(given.data).resolve() if given.data else None
    failed = make(ROOT, given.tables or list(modules), modules, pathlib.Path(given.program).resolve(), data)
    mark_all(ROOT, modules, ROOT / "docs" / "results.md", say=lambda line: None)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
