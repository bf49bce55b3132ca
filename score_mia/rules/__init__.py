"""Decision rules: signals [N, K] to one membership score per image [N].

A new rule is one file and one line here; a rule in your own package needs no line, only
`dict(name="my_package.mine:MyRule")` in a config.
"""

from __future__ import annotations

from collections.abc import Callable

from score_mia.rules.best import Best
from score_mia.rules.cdi import Cdi, SetMean
from score_mia.rules.column import Column
from score_mia.rules.duci import Duci
from score_mia.rules.gaussians import Gaussians
from score_mia.rules.learned import (
    Bayes,
    Boosting,
    Discriminant,
    Forest,
    Logistic,
    Neighbours,
    Perceptron,
    Ridge,
    Svm,
    Tree,
)
from score_mia.rules.lira import Lira
from score_mia.rules.mean import Largest, Mean
from score_mia.rules.quantile import Quantile
from score_mia.rules.reference import ReferenceRatio
from score_mia.rules.rmia import Rmia

RULES: dict[str, Callable] = {
    "column": Column,
    "best": Best,
    "mean": Mean,
    "max": Largest,
    "gaussians": Gaussians,
    "logistic": Logistic,
    "ridge": Ridge,
    "discriminant": Discriminant,
    "svm": Svm,
    "tree": Tree,
    "forest": Forest,
    "boosting": Boosting,
    "bayes": Bayes,
    "neighbours": Neighbours,
    "perceptron": Perceptron,
    "lira": Lira,
    "rmia": Rmia,
    "reference_ratio": ReferenceRatio,
    "quantile": Quantile,
}
"""Name in a config -> class."""

SETS: dict[str, Callable] = {"cdi": Cdi, "duci": Duci, "set_mean": SetMean}
"""Tests of whole sets, which stand in a rule's place: name in a config -> class."""
