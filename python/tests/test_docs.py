"""docs/python.md shows code that the examples run."""

import re
import textwrap
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Page(unittest.TestCase):
    def test_shows_the_code_of_the_examples(self):
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S)
        self.assertGreater(len(blocks), 4)
        shown = set()
        for example in (ROOT / "python/examples").glob("*.py"):
            parts = re.split(r"^ *# \[shown\]\n", example.read_text(), flags=re.M)[1::2]
            shown |= {textwrap.dedent(part).strip() for part in parts}
        for block in blocks:
            self.assertIn(block.strip(), shown)


if __name__ == "__main__":
    unittest.main()
