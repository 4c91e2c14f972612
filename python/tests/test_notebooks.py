"""The examples as notebooks: no line is lost, the format is valid, they run."""

import importlib.util
import json
import os
import runpy
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((ROOT / "python" / "examples").glob("*.py"))
DATA = Path(os.environ.get("BILEVEL_DATA", ROOT.parent / "shared" / "data"))
write = runpy.run_path(str(ROOT / "cmake" / "notebooks.py"))["main"]


def installed(*names):
    return all(importlib.util.find_spec(name) for name in names)


def lines(code):
    left_out = ("# [shown]", "def main() -> None:", 'if __name__ == "__main__":', "main()", "")
    return [line.strip() for line in code.splitlines() if line.strip() not in left_out]


class Notebooks(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        write(folder.name)
        self.notebooks = {path.stem: json.loads(path.read_text()) for path in Path(folder.name).glob("*.ipynb")}

    def code(self, name):
        return [cell["source"] for cell in self.notebooks[name]["cells"] if cell["cell_type"] == "code"]

    def test_hold_every_line_of_the_examples(self):
        self.assertEqual(sorted(self.notebooks), [script.stem for script in EXAMPLES])
        for script in EXAMPLES:
            with self.subTest(script.stem):
                code = self.code(script.stem)
                for cell in code:
                    compile(cell, script.stem, "exec")
                text = self.notebooks[script.stem]["cells"][0]["source"].removeprefix("# ")
                self.assertEqual(lines(f'"""{text}"""' + "\n\n".join(["", *code])), lines(script.read_text()))

    def test_run_cell_by_cell(self):
        names = {}
        for cell in self.code("own_solver"):
            exec(cell, names)
        self.assertEqual(names["mine"].x.tolist(), names["theirs"].x.tolist())

    @unittest.skipUnless(installed("nbformat"), "nbformat is not installed")
    def test_are_valid(self):
        import nbformat

        for name, notebook in self.notebooks.items():
            with self.subTest(name):
                nbformat.validate(notebook)

    @unittest.skipUnless(installed("nbformat", "nbclient", "ipykernel"), "nbclient, nbformat or ipykernel is not installed")
    def test_run_in_a_kernel(self):
        import nbclient
        import nbformat

        needs = {"hypercleaning": (DATA / "mnist").is_dir(), "estimators": installed("sklearn")}
        for name, notebook in self.notebooks.items():
            with self.subTest(name):
                if not needs.get(name, True):
                    self.skipTest("its data or packages are not here")
                nbclient.NotebookClient(nbformat.from_dict(notebook), timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()


if __name__ == "__main__":
    unittest.main()
