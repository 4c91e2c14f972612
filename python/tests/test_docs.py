"""The pages show code that the examples run."""

import re
import textwrap
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def blocks(page):
    return [block.strip() for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.S)]


def parts(folder, *marks):
    """What stands between two lines of a mark, without its indentation."""
    return [
        textwrap.dedent(part).strip()
        for script in sorted((ROOT / folder).glob("*.py"))
        for mark in marks
        for part in re.split(rf"^ *# \[{mark}\]\n", script.read_text(), flags=re.M)[1::2]
    ]


class Pages(unittest.TestCase):
    def test_show_the_code_of_the_examples(self):
        shown = parts("python/examples", "shown")
        self.assertGreater(len(blocks("docs/python.md")), 4)
        for block in blocks("docs/python.md"):
            self.assertIn(block, shown)

    def test_show_the_code_of_both_libraries(self):
        self.assertEqual(sorted(blocks("docs/coming-from.md")), sorted(parts("python/coming_from", "theirs", "ours")))


if __name__ == "__main__":
    unittest.main()
