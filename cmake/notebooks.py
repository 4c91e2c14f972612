"""Writes the Python examples as notebooks: python3 cmake/notebooks.py FOLDER [SCRIPT ...]

A cell for each part of a script: what stands between two blank lines, and what its marks [shown] enclose. The body of main() is taken out
of its function."""

import ast
import json
import re
import sys
import textwrap
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "python" / "examples"


def cells(script):
    """The heading of a script, and its code in parts."""
    heading = ast.get_docstring(ast.parse(script))
    code = re.sub(r'\A""".*?"""\n', "", script, flags=re.S)
    code = re.sub(r'\n\n\nif __name__ == "__main__":\n.*\Z', "\n", code, flags=re.S)
    code = re.sub(r"^def main\(\) -> None:\n((?:    .*\n|\n)+)", lambda body: textwrap.dedent(body[1]), code, flags=re.M)
    parts = re.split(r"^# \[shown\]\n|\n\n\n", code, flags=re.M)
    parts = [re.sub(r"^ *# \[shown\]\n", "", part, flags=re.M).strip("\n") for part in parts]
    return "# " + heading, [part for part in parts if part]


def notebook(script):
    heading, parts = cells(script)
    shown = [{"cell_type": "markdown", "metadata": {}, "source": heading}]
    shown += [{"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": part} for part in parts]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": shown, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 4}


def main(folder, *scripts):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for script in map(Path, scripts or sorted(EXAMPLES.glob("*.py"))):
        written = json.dumps(notebook(script.read_text()), indent=1) + "\n"
        Path(folder, script.stem + ".ipynb").write_text(written)


if __name__ == "__main__":
    main(*sys.argv[1:])
