"""How well a classifier that is fitted on the labels themselves tells two groups apart.

Every row is scored by a classifier fitted on the other folds. Such scores are *not*
independent of each other (one row helps to score many), so intervals for independent
scores are too narrow: between equal groups the AUC spreads 1.4 times as wide. The
spread, and the p-value, therefore come from permutations of the whole procedure.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from score_mia.check import at_least, finite, require, within
from score_mia.metrics.intervals import Estimate, auc_limits

_RIDGE = 40.0
"""On standardised columns; about the curvature of scikit-learn's logistic regression at
C = 0.1, whose log-likelihood curves by at most 1/4 per row."""

_CELLS = 2**22
"""Permuted labels held at once: bounds the memory."""

_SURE = 0.01
"""How seldom a test of the right size would accuse as many sets as it did."""


@dataclasses.dataclass(frozen=True, eq=False)
class CrossFitted:
    """What a cross-fitted classifier found.

    Attributes:
      auc: mean over the folds of their own AUC, weighted by their pairs; within a fold
        because the folds' classifiers differ in scale. Between equal groups its
        expectation is 1/2 exactly.
      p_value: of equal groups, two-sided: the share of permutations, this arrangement
        among them, whose AUC is at least as far from 1/2.
      scores: [n] of each row by the classifier that did not see it.
      fold: [n] which fold each row is in.
      null: [permutations] AUCs between groups made equal by permutation.
      excess: by what the variance exceeds that of independent scores.
    """

    auc: Estimate
    p_value: float
    scores: np.ndarray
    fold: np.ndarray
    null: np.ndarray
    excess: float = 1.0

    @property
    def standardised(self) -> Float[np.ndarray, " n"]:
        """The scores of all folds on one scale: less their mean, by their deviation."""
        scores = np.empty(len(self.scores))
        for j in range(int(self.fold.max()) + 1):
            own = self.scores[self.fold == j]
            scores[self.fold == j] = (own - own.mean()) / (own.std() or 1.0)
        return scores


def cross_fitted(
    features: Float[np.ndarray, "n k"],
    member: Bool[np.ndarray, " n"],
    *,
    folds: int = 5,
    permutations: int = 999,
    level: float = 0.95,
    seed: int = 0,
) -> CrossFitted:
    """Cross-fit a linear classifier (ridge regression on the label) and test it.

    Labels are permuted within the folds. If the two groups are equal in distribution
    every such arrangement was equally likely, so the p-value is exact (Phipson & Smyth
    2010), and since no fold's rows or class counts change, one factorisation per fold
    serves all permutations: 1,000 + 1,000 rows of 100 columns take about a second.

    The interval is normal on the logit scale, with DeLong's variance of the folds'
    AUCs times what the permutations' variance exceeds that of independent scores by;
    binomial where next to no pair is wrong. Simulated coverage at 95 % between equal
    groups: 95 % (tests/defects/test_a03_blind_interval.py).

    Args:
      features: of each row; a column that is constant is left out.
      member: True for one of the groups.
      folds: number of parts, at most the size of the smaller group.
      permutations: of the labels.
      level: of the interval.
      seed: of the folds and of the permutations.

    Raises:
      UserError: a group of fewer than two rows, or a feature that is not finite.
    """
    from threadpoolctl import threadpool_limits

    at_least("folds", folds, 2)
    at_least("permutations", permutations, 99)
    within("level", level, 0.5, 1.0)
    member = np.asarray(member, bool)
    smaller = _smaller(member)
    finite("features", features)
    rng = np.random.default_rng(seed)
    # The products are small: threads that wait for each other made them 25 times slower
    # on busy cores.
    with threadpool_limits(1):
        fold = _folds(member, min(folds, smaller), rng)
        values = standardised(np.asarray(features, np.float64))
        parts = [_fold(values, fold, j) for j in range(int(fold.max()) + 1)]
        null = _null(parts, member, fold, permutations, rng)
        labels = member[:, None].astype(np.float64)
        value = float(_aucs(parts, labels)[0])
        scores = np.empty(len(member))
        for part in parts:
            scores[part.rows] = part.scores(labels)[:, 0]
    # The excess shrinks where the groups do differ; taking all of it is safe.
    excess = max(1.0, float(np.mean((null - 0.5) ** 2)) / independent_variance(member))
    limits = auc_limits(value, _delong(scores, member, fold) * excess, smaller, level)
    auc = Estimate(value, min(value, limits[0]), max(value, limits[1]))
    return CrossFitted(auc, _p_value(value, null), scores, fold, null, excess)


def too_many(alarms: int, trials: int, alpha: float) -> bool:
    """Whether a test accused more sets than its size allows, none of which it should.

    Args:
      alarms: sets that it accused.
      trials: sets that it was tried on; 0 allows none.
      alpha: its size. A test of that size has more alarms than are allowed in one of a
        hundred such tries at most.
    """
    return bool(alarms > scipy.stats.binom.isf(_SURE, max(trials, 1), alpha))


def _p_value(value: float, null: Float[np.ndarray, " b"]) -> float:
    """The share of arrangements, the real one among them, as far from 1/2."""
    far = np.abs(null - 0.5) >= abs(value - 0.5) - 1e-12
    return float((far.sum() + 1) / (len(null) + 1))


def _smaller(member: Bool[np.ndarray, " n"]) -> int:
    """The size of the smaller group, two at the least."""
    smaller = int(min(member.sum(), (~member).sum()))
    require(
        smaller >= 2,
        "cross-fitting",
        f"a group has {smaller} rows",
        "give two or more of either group",
    )
    return smaller


class _Part(NamedTuple):
    """One fold: its rows, the others, and what maps their labels to its scores."""

    rows: Int[np.ndarray, " r"]
    others: Int[np.ndarray, " s"]
    left: Float[np.ndarray, "r k"]
    right: Float[np.ndarray, "k s"]

    def scores(self, labels: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "r b"]:
        """Ridge regression fitted on the other folds, for each column of labels."""
        return self.left @ (self.right @ labels[self.others])


def _folds(member: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """The fold [n] of each row; every fold has its share of either group."""
    fold = np.empty(len(member), np.int64)
    for group in (member, ~member):
        rows = rng.permutation(np.flatnonzero(group))
        fold[rows] = np.arange(len(rows)) % count
    return fold


def standardised(values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n m"]:
    """Columns of mean 0 and variance 1, without those that do not vary."""
    values = values - values.mean(axis=0)
    spread = values.std(axis=0)
    vary = spread > 1e-9 * max(float(spread.max(initial=0.0)), 1e-300)
    return values[:, vary] / spread[vary]


def _fold(values: np.ndarray, fold: np.ndarray, j: int) -> _Part:
    """Factorise one fold's regression. An intercept would change no rank: none."""
    rows, others = np.flatnonzero(fold == j), np.flatnonzero(fold != j)
    centre = values[others].mean(axis=0)
    seen = values[others] - centre
    gram = seen.T @ seen + _RIDGE * np.eye(values.shape[1])
    return _Part(rows, others, values[rows] - centre, np.linalg.solve(gram, seen.T))


def _null(
    parts: list[_Part],
    member: np.ndarray,
    fold: np.ndarray,
    permutations: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """AUCs [permutations] with labels shuffled within each fold."""
    null = np.empty(permutations)
    step = max(1, _CELLS // len(member))
    for start in range(0, permutations, step):
        count = min(step, permutations - start)
        labels = np.repeat(member[:, None].astype(np.float64), count, axis=1)
        for part in parts:
            labels[part.rows] = rng.permuted(labels[part.rows], axis=0)
        null[start : start + count] = _aucs(parts, labels)
    return null


def _aucs(parts: list[_Part], labels: Float[np.ndarray, "n b"]) -> np.ndarray:
    """The AUC [b] of each column of labels, refitted and all."""
    wins, pairs = np.zeros(labels.shape[1]), 0.0
    for part in parts:
        ranks = scipy.stats.rankdata(part.scores(labels), axis=0)
        own = labels[part.rows]
        n1 = own[:, 0].sum()
        wins += np.sum(ranks * own, axis=0) - n1 * (n1 + 1) / 2
        pairs += n1 * (len(own) - n1)
    return wins / pairs


def independent_variance(member: np.ndarray) -> float:
    """Variance of the AUC of independent scores of two equal groups."""
    n1, n0 = int(member.sum()), int((~member).sum())
    return (n1 + n0 + 1) / (12 * n1 * n0)


def _delong(scores: np.ndarray, member: np.ndarray, fold: np.ndarray) -> float:
    """Variance of the AUC if the scores were independent of each other.

    DeLong's, with each row's placement among the other group of its own fold.
    """
    placement = np.empty(len(scores))
    for j in range(int(fold.max()) + 1):
        here = fold == j
        ranks = scipy.stats.rankdata(scores[here])
        for group in (member[here], ~member[here]):
            own = scipy.stats.rankdata(scores[here][group])
            placement[np.flatnonzero(here)[group]] = (ranks[group] - own) / np.sum(
                ~group
            )
    groups = (placement[member], placement[~member])
    return sum(float(np.var(group, ddof=1)) / len(group) for group in groups)
