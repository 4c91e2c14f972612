"""The program's jobs as estimators of scikit-learn.

Each runs its job by the program in this package, on files that it makes of X and y, so that the same rows, options and seed give the
figures of the command line. Needs scikit-learn.
"""

from .auc import AUCClassifier
from .clean import LabelCleaner
from .meta import FewShotClassifier
from .mix import SourceMixer
from .tune import RegularizedClassifier

__all__ = ["AUCClassifier", "FewShotClassifier", "LabelCleaner", "RegularizedClassifier", "SourceMixer"]
