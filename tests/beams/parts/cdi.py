"""A test of a whole set, after CDI (Dubinski et al. 2025, 2411.12858)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from scipy import stats

from score_mia.arrays import hashed
from score_mia.check import require
from score_mia.rules.protocol import TestResult


@dataclasses.dataclass(frozen=True)
class Cdi:
    """Do suspects score higher than images that nobody trained on?

    Half of the suspects and of the unseen images train a linear scorer that tells them
    apart; on the other halves, which it has not seen, Welch's one-sided test asks
    whether the suspects score higher. Without a difference its p-value is uniform.

    Attributes:
      ridge: penalty of the scorer, in images.
    """

    accepts: ClassVar[frozenset] = frozenset(("population", "split"))
    ridge: float = 10.0

    def judge(self, suspects, unseen, seed):
        sides = [_halves(e.target, seed) for e in (suspects, unseen)]
        for (shown, tested), what in zip(sides, ("suspects", "unseen"), strict=True):
            require(
                min(len(shown), len(tested)) >= 2,
                f"set test: {what}",
                "are fewer than four",
                "give more images",
            )
        (p_shown, p_tested), (u_shown, u_tested) = sides
        away = p_shown.mean(axis=0) - u_shown.mean(axis=0)
        centred = [part - part.mean(axis=0) for part in (p_shown, u_shown)]
        scatter = sum(part.T @ part for part in centred)
        scale = np.sqrt(np.maximum(np.diag(scatter), 1e-300))
        freedom = len(p_shown) + len(u_shown) - 2
        gram = scatter / np.outer(scale, scale) + self.ridge / freedom * np.eye(
            len(scale)
        )
        weights = np.linalg.solve(gram, away / scale) / scale
        found = stats.ttest_ind(
            p_tested @ weights,
            u_tested @ weights,
            equal_var=False,
            alternative="greater",
        )
        about = f"Welch's test on {len(p_tested)} suspects, {len(u_tested)} unseen"
        return TestResult(float(found.pvalue), float(found.statistic), about)


def _halves(readings, seed):
    """Rows to train on and rows to test on, by a hash of their ids."""
    order = np.argsort(hashed(readings.ids, 1 + seed), kind="stable")
    values = readings.matrix().astype(np.float64)[order]
    return values[::2], values[1::2]
