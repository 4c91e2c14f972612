"""The runner of `make results`, on a small repository of its own with a program of its own."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
sys.dont_write_bytecode = True
import make_results  # noqa: E402

PROGRAM = """#!/usr/bin/env python3
import json, sys
if "--fail" in sys.argv: sys.exit("no such row")
print(json.dumps({"words": sys.argv[1:]}))
"""
SCRIPT = """
TITLE = "Some table"
DEPENDS = ["bilevel/solver"]
def table(run):
    found = [run.bilevel(["auc", "--train", run.data("a.tsv"), "--seed", seed, "--out", f"run-{seed}"]) for seed in (100, 101)]
    return "| words |\\n|---|\\n" + "\\n".join(f"| {len(f['words'])} |" for f in found)
"""


class Results(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name) / "repository"
        self.data = pathlib.Path(folder.name) / "data"
        self.program = pathlib.Path(folder.name) / "bilevel"
        self.page = self.root / "docs" / "results.md"
        for path in ("docs", "benchmarks/results", "bilevel/solver"):
            (self.root / path).mkdir(parents=True)
        self.data.mkdir()
        (self.data / "a.tsv").write_text("")
        self.program.write_text(PROGRAM)
        self.program.chmod(0o755)
        (self.root / "bilevel/solver/a.cpp").write_text("1")
        (self.root / "benchmarks/results/some.py").write_text(SCRIPT)
        self.page.write_text("# Results\nprose\n\n<!-- table some -->\nold\n<!-- end some -->\n\n## After\n")
        self.git("init", "-q")
        self.commit()

    def git(self, *words):
        identity = ["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", "-C", self.root, *identity, *words], check=True, capture_output=True, text=True).stdout

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "-qm", "x")

    def make(self, data=True):
        lines = []
        modules = make_results.scripts(self.root)
        failed = make_results.make(self.root, list(modules), modules, self.program, self.data if data else None,
                                   say=lambda line, flush: lines.append(line))
        return failed, "\n".join(lines)

    def mark(self):
        return make_results.mark_all(self.root, make_results.scripts(self.root), self.page, say=lambda line: None)

    def test_writes_the_block_with_commands_commit_and_date(self):
        self.assertEqual(self.make()[0], [])
        text = self.page.read_text()
        commit = self.git("rev-parse", "--short=7", "HEAD").strip()
        self.assertRegex(text, "<!-- table some -->\n\\| words \\|\n(.*\n)*\n    bilevel auc --train a.tsv --seed S\n\n"
                         f"commit {commit}, \\d{{4}}-\\d\\d-\\d\\d, command: `make results TABLES=some`\n<!-- end some -->")
        self.assertEqual(text.count("bilevel auc"), 1)  # two runs that differ in the seed
        self.assertTrue(text.startswith("# Results\nprose\n") and text.endswith("## After\n"))
        self.assertNotIn(str(self.data), text)
        self.assertNotIn("old", text)

    def test_says_so_when_the_tree_is_not_the_commit(self):
        (self.root / "bilevel/solver/a.cpp").write_text("2")
        self.make()
        self.assertRegex(self.page.read_text(), "commit [0-9a-f]{7}-dirty, ")

    def test_marks_what_is_stale_and_takes_the_mark_away(self):
        self.make()
        self.commit()
        self.assertEqual(self.mark(), [])
        (self.root / "bilevel/solver/a.md").write_text("a page")
        (self.root / "bilevel/solver/a_test.cpp").write_text("a test")
        (self.root / "bilevel/other.cpp").write_text("elsewhere")
        self.commit()
        self.assertEqual(self.mark(), [])
        (self.root / "bilevel/solver/a.cpp").write_text("2")
        self.commit()
        for _ in range(2):  # marking twice marks once
            self.assertEqual(self.mark(), ["some"])
            self.assertEqual(len(re.findall(r"^\*\*Stale\*\*: sources changed since [0-9a-f]{7}: `bilevel/solver`$",
                                            self.page.read_text(), re.MULTILINE)), 1)
        self.make()
        self.assertEqual(self.mark(), [])
        self.assertNotIn("Stale", self.page.read_text())

    def test_a_changed_script_makes_its_table_stale(self):
        self.make()
        path = self.root / "benchmarks/results/some.py"
        path.write_text(path.read_text() + "\n# x\n")
        self.assertEqual(self.mark(), ["some"])

    def test_an_empty_place_says_that_nothing_was_measured(self):
        self.page.write_text("<!-- table some -->\n<!-- end some -->\n")
        self.assertEqual(self.mark(), [])
        self.assertIn("<!-- table some -->\nNot measured yet: `make results TABLES=some`.\n<!-- end", self.page.read_text())

    def test_an_unknown_commit_is_stale(self):
        self.make()
        self.page.write_text(re.sub("commit [0-9a-f]{7}", "commit abcdef0", self.page.read_text()))
        self.assertEqual(self.mark(), ["some"])

    def test_missing_data_and_failures_leave_the_table(self):
        failed, said = self.make(data=False)
        self.assertEqual((failed, "SKIPPED" in said and "BILEVEL_DATA" in said), ([], True))
        self.assertIn("\nold\n", self.page.read_text())
        path = self.root / "benchmarks/results/some.py"
        path.write_text(path.read_text().replace('"--seed"', '"--fail"'))
        failed, said = self.make()
        self.assertEqual(failed, ["some"])
        self.assertIn("no such row", said)
        self.assertIn("\nold\n", self.page.read_text())

    def test_a_table_without_a_place_comes_to_the_end(self):
        self.page.write_text("# Results\n")
        self.make()
        self.assertIn("# Results\n\n## Some table\n\n<!-- table some -->\n", self.page.read_text())


class Statistics(unittest.TestCase):
    def test_quantiles_of_students_t(self):
        for degrees, quantile in ((1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (120, 1.9799)):
            self.assertAlmostEqual(make_results.student_t_975(degrees), quantile, 4)

    def test_interval_of_a_mean(self):
        mean, half = make_results.Run.mean_interval([1, 2, 3, 4, 5])
        self.assertAlmostEqual(mean, 3)
        self.assertAlmostEqual(half, 2.7764451 * 0.5 ** 0.5, 6)


class Page(unittest.TestCase):
    """Every block of docs/results.md has a script, every script a block, every dependence a file."""

    def setUp(self):
        self.modules = make_results.scripts(ROOT)
        self.text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")

    def test_blocks_and_scripts_are_the_same(self):
        self.assertEqual(sorted(re.findall(r"<!-- table (\S+) -->", self.text)), sorted(self.modules))
        for name in self.modules:
            self.assertIsNotNone(make_results.block_of(self.text, name), name)

    def test_scripts_say_what_they_depend_on(self):
        for name, module in self.modules.items():
            self.assertTrue(module.TITLE and "\n" not in module.TITLE and callable(module.table), name)
            self.assertTrue(module.DEPENDS, name)
            for path in module.DEPENDS:
                self.assertTrue(list(ROOT.glob(path.replace("*_test", "**/*_test"))), f"{name}: {path}")

    def test_every_table_tells_its_commit(self):
        for name in self.modules:
            begin, end = make_results.block_of(self.text, name)
            self.assertRegex(self.text[begin:end], r"(?m)^(commit [0-9a-f]{7,}(-dirty)?, \d{4}-\d\d-\d\d, |Not measured)", name)


if __name__ == "__main__":
    os.environ.pop("BILEVEL_DATA", None)
    unittest.main()
