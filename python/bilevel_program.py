"""The command `bilevel`: the C++ program of the package. Apart from the package, whose import takes torch's seconds."""

import importlib.metadata
import importlib.util
import os
import runpy
import sys


def main() -> None:
    """Becomes the program, with the arguments of this process."""
    package, torch = (importlib.util.find_spec(name) for name in ("bilevel", "torch"))
    assert package and package.submodule_search_locations
    folder = package.submodule_search_locations[0]
    if torch is None:
        sys.exit("bilevel: torch is not installed, whose libraries the program uses: pip install torch")
    built_against = runpy.run_path(os.path.join(folder, "_build.py"))["torch_version"]
    installed = importlib.metadata.version("torch")
    if installed.split("+")[0] != built_against:
        sys.exit(f"bilevel: built against torch {built_against}, but torch {installed} is installed: build bilevel again")
    os.execv(os.path.join(folder, "bilevel"), ["bilevel", *sys.argv[1:]])
