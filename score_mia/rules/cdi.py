"""Dataset inference, after CDI (Dubinski et al. 2025, 2411.12858): was this set trained
on? Evidence that is too weak for one image is pooled over many.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float

from score_mia.check import at_least, require, within
from score_mia.metrics.crossfit import CrossFitted, cross_fitted, too_many
from score_mia.readings import Evidence
from score_mia.rules.protocol import Knowledge, TestResult

_NULL = 99
"""Permutations that measure the excess of a set of non-members."""


@dataclasses.dataclass(frozen=True)
class Cdi:
    """Do suspects score higher than images that nobody trained on?

    A linear score of all columns that tells the suspects from the unseen is
    cross-fitted, and Welch's one-sided test asks whether the suspects' is higher. Such
    scores depend on each other (each image helps to score the rest), so that the test
    as it stands accuses too often: its statistic is narrowed by what permutations of
    the labels, refitted and all, show (`metrics.crossfit`).

    Before its p-value is given, the same test is tried on sets of which none was
    trained on: the unseen, cut at random into suspects and others. Where it accuses
    more of these than its size allows, the p-value is that of the permutations, which
    holds whatever the columns are, and cannot fall below 1 / (1 + permutations).

    The paper fits on some 30 features of several attacks and averages p-values over
    1,000 random subsets of a given size; here the set is judged once, as it is.

    Attributes:
      columns: names; None for all.
      folds: of the cross-fit.
      permutations: of the labels.
      trials: sets of non-members that the test is tried on; 0 for none, and then the
        p-value is that of the permutations.
      alpha: size at which it is tried.
    """

    columns: tuple[str, ...] | None = None
    folds: int = 5
    permutations: int = 999
    trials: int = 100
    alpha: float = 0.05

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("population",))

    def __post_init__(self) -> None:
        at_least("folds", self.folds, 2)
        at_least("permutations", self.permutations, 99)
        at_least("trials", self.trials, 0)
        within("alpha", self.alpha, 1e-6, 0.5)

    def quick(self) -> Cdi:
        """Next to no permutations."""
        return dataclasses.replace(self, permutations=99, trials=min(self.trials, 1))

    def judge(self, suspects: Evidence, unseen: Evidence, seed: int) -> TestResult:
        """Hold the suspects against the unseen.

        Raises:
          UserError: fewer than four images in either set, or a value that is not
            finite.
        """
        names = tuple(sorted(self.columns or suspects.target.names))
        sides = [e.target.matrix(names) for e in (suspects, unseen)]
        for side, what in zip(sides, ("suspects", "unseen"), strict=True):
            problem = f"are {len(side)}, fewer than four"
            require(len(side) >= 4, f"set test: {what}", problem, "give more images")
        values = np.concatenate(sides).astype(np.float64)
        member = np.arange(len(values)) < len(sides[0])
        found = self._fit(values, member, self.permutations, seed)
        welch, exact = Welch.of(found, member), permuted(found)
        alarms = self._alarms(values[~member], len(sides[0]), seed)
        about = (
            f"cross-fitted score of {len(names)} columns, {len(sides[0])} suspects "
            f"against {len(sides[1])} unseen"
        )
        tried = f"{alarms} of {self.trials} sets of non-members at {self.alpha:g}"
        if self.trials and not too_many(alarms, self.trials, self.alpha):
            about = f"Welch's test of a {about}; by permutation p = {exact:.3g}"
            return TestResult(welch.p_value, welch.t, f"{about}; accused {tried}")
        about = f"permutation test of a {about}"
        if self.trials:
            about += f"; Welch's, p = {welch.p_value:.2g}, accused {tried}: too many"
        return TestResult(exact, welch.t, about)

    def _fit(
        self, values: np.ndarray, member: np.ndarray, permutations: int, seed: int
    ) -> CrossFitted:
        how = {"folds": self.folds, "permutations": permutations, "seed": seed}
        return cross_fitted(values, member, **how)

    def _alarms(self, unseen: np.ndarray, suspects: int, seed: int) -> int:
        """How many cuts of the unseen are accused, each in the suspects' proportion."""
        count, alarms = len(unseen), 0
        part = round(count * suspects / (suspects + count))
        part = min(max(part, 2), count - 2)
        for k in range(self.trials):
            rng = np.random.default_rng([seed, 1 + k])
            member = rng.permutation(count) < part
            found = self._fit(unseen, member, _NULL, seed)
            alarms += Welch.of(found, member).p_value <= self.alpha
        return int(alarms)


class Welch(NamedTuple):
    """Welch's one-sided test, narrowed; `t` is its statistic."""

    t: float
    p_value: float

    @staticmethod
    def of(found: CrossFitted, member: Bool[np.ndarray, " n"]) -> Welch:
        """Of cross-fitted scores, whose fits vary as their `excess` says."""
        scores = found.standardised
        test = scipy.stats.ttest_ind(scores[member], scores[~member], equal_var=False)
        t = float(test.statistic) / np.sqrt(found.excess)
        if not np.isfinite(t):  # no column varies
            return Welch(0.0, 0.5)
        return Welch(float(t), float(scipy.stats.t.sf(t, test.df)))


def permuted(found: CrossFitted) -> float:
    """The share of arrangements of the labels whose AUC is as high, this one's too."""
    high = int(np.sum(found.null >= found.auc.interval[0] - 1e-12))
    return (high + 1) / (len(found.null) + 1)


@dataclasses.dataclass(frozen=True)
class SetMean:
    """Is one column higher in the set than among images that nobody trained on?

    Nothing is learned, so no image is spent on it: a permutation test of the difference
    of the means, exact where the set is as good as drawn from the same images.

    On `reconstruct` with output="pooled" and similarity="l2" it is a kernel test on
    what the model draws, after 2502.02970 (read as an abstract only): a column is
    -mean_g |f(x) - f(g)| over drawn images g, and

        2 (mean over suspects - mean over unseen)

    is by how much the energy distance (the maximum mean discrepancy of the kernel
    -|a - b|) of the drawn images to the suspects falls below that to the unseen, less
    the two sets' own terms: these would say how the sets differ, and nothing of the
    model. Models that keep a distribution rather than images can show there.

    Attributes:
      column: its name; None for a signal that has only one.
      permutations: of the labels.
    """

    column: str | None = None
    permutations: int = 9999

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("population",))

    def __post_init__(self) -> None:
        at_least("permutations", self.permutations, 99)

    def judge(self, suspects: Evidence, unseen: Evidence, seed: int) -> TestResult:
        """Hold the suspects against the unseen.

        Raises:
          UserError: no column is named and there are several, or an empty set.
        """
        names = suspects.target.names
        problem = f"is not told which of {len(names)} columns to look at"
        named = self.column is not None or len(names) == 1
        require(named, "set test 'set_mean'", problem, "give column=...")
        name = self.column or names[0]
        sides = [e.target.column(name).astype(np.float64) for e in (suspects, unseen)]
        fewer = min(map(len, sides))
        problem = f"a set has {fewer} images"
        require(fewer >= 2, "set test 'set_mean'", problem, "give two or more")
        values, count = np.concatenate(sides), len(sides[0])
        p_value = _exceeded(values, count, self.permutations, seed)
        gap = float(sides[0].mean() - sides[1].mean())
        about = (
            f"permutation test of the mean of {name}, {count} suspects against "
            f"{len(sides[1])} unseen, {self.permutations} permutations"
        )
        return TestResult(p_value, gap, about)


def _exceeded(
    values: Float[np.ndarray, " n"], count: int, permutations: int, seed: int
) -> float:
    """The share of choices of `count` rows whose mean is as high as the first's."""
    rng = np.random.default_rng(seed)
    values = (values - values.mean()) / (values.std() or 1.0)
    own, high = values[:count].sum(), 0
    for _ in range(permutations):
        drawn = rng.choice(values, count, replace=False, shuffle=False).sum()
        high += drawn >= own - 1e-9
    return (int(high) + 1) / (permutations + 1)
