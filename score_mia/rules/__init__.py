"""Decision rules: signals [N, K] to one membership score per image [N].

A new rule is one file and one line here; a rule in your own package needs no line, only
`dict(name="my_package.mine:MyRule")` in a config.
"""

from __future__ import annotations

from collections.abc import Callable

from score_mia.rules.best import Best
from score_mia.rules.column import Column
from score_mia.rules.gaussians import Gaussians
from score_mia.rules.learned import (
    Bayes,
    Boosting,
    Forest,
    Logistic,
    Neighbours,
    Perceptron,
    Svm,
    Tree,
)
from score_mia.rules.mean import Largest, Mean

RULES: dict[str, Callable] = {
    "column": Column,
    "best": Best,
    "mean": Mean,
    "max": Largest,
    "gaussians": Gaussians,
    "logistic": Logistic,
    "svm": Svm,
    "tree": Tree,
    "forest": Forest,
    "boosting": Boosting,
    "bayes": Bayes,
    "neighbours": Neighbours,
    "perceptron": Perceptron,
}
"""Name in a config -> class."""
