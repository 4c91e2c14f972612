"""Bilevel optimization on torch: min over x of f(x, y*(x)), where y*(x) minimizes g(x, y).

    problem = bilevel.Problem(
        upper=bilevel.Level(encoder, loss=lambda b: F.cross_entropy(head(encoder(b.inputs)), b.targets), data=valid),
        lower=bilevel.Level(head, loss=lambda b: F.cross_entropy(head(encoder(b.inputs)), b.targets)
                            + 1e-3 * bilevel.squared_norm(head), data=train),
    )
    result = bilevel.run(problem, bilevel.AdamBO(upper_step_size=1e-3), max_steps=2000, seed=7)
"""

from typing import TYPE_CHECKING

import torch

from . import _build
from ._build import version as __version__

if torch.__version__.split("+")[0] != _build.torch_version:
    raise ImportError(
        f"bilevel was built against torch {_build.torch_version}, but torch {torch.__version__} is installed, whose C++ "
        "interface differs. Build bilevel again: pip install --no-build-isolation --force-reinstall --no-deps PATH_TO_BILEVEL"
    )

from ._core import (  # noqa: E402  (the check comes first)
    Batch,
    Error,
    FileError,
    InputError,
    LevelOracle,
    Oracles,
    Point,
    Report,
    Sample,
    StepReport,
    ball,
    box,
    simplex,
    weighted_mean,
)
from ._check import Check, Hypergradient, check, check_hypergradient, hypergradient  # noqa: E402
from ._compare import compare  # noqa: E402
from ._implicit import implicit  # noqa: E402
from ._problem import Level, Problem, squared_norm  # noqa: E402
from ._run import Iteration, Result, iterate, run  # noqa: E402
from ._solver import Solver  # noqa: E402
from .solvers import *  # noqa: E402, F403
from . import problems, solvers  # noqa: E402

__all__ = [
    "Batch", "Check", "Error", "FileError", "Hypergradient", "InputError", "Iteration", "Level", "LevelOracle", "Oracles",
    "Point", "Problem", "Report", "Result", "Sample", "Solver", "StepReport", "ball", "box", "check", "check_hypergradient",
    "compare", "hypergradient", "implicit", "iterate", "problems", "run", "simplex", "solvers", "squared_norm",
    "weighted_mean", "__version__",
]  # fmt: skip
__all__ += solvers.__all__


if TYPE_CHECKING:
    from .estimators import (
        AUCClassifier as AUCClassifier,
        FewShotClassifier as FewShotClassifier,
        LabelCleaner as LabelCleaner,
        RegularizedClassifier as RegularizedClassifier,
        SourceMixer as SourceMixer,
    )
else:

    def __getattr__(name):
        """The estimators, whose import takes scikit-learn."""
        if name in ("AUCClassifier", "FewShotClassifier", "LabelCleaner", "RegularizedClassifier", "SourceMixer"):
            from . import estimators

            return getattr(estimators, name)
        raise AttributeError(f"module 'bilevel' has no attribute {name!r}")
