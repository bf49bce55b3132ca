"""The curves that figures and tables share, computed once from the evaluation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float

from score_mia.metrics.intervals import (
    auc_limits,
    delong,
    roc_band,
    tpr_interval,
)
from score_mia.metrics.roc import column_curves, resolvable, tally

POINTS = 120
"""False-positive rates at which a ROC is drawn and tabulated, at most."""
RATES = (0.1, 0.01, 0.001, 0.0001)
"""False-positive rates of the curves over the diffusion steps."""


@dataclasses.dataclass(frozen=True, eq=False)
class RocCurve:
    """The conservative ROC at chosen FPRs, with a pointwise 95 % band; all [P]."""

    fpr: np.ndarray
    tpr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    members: int
    nonmembers: int


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnCurves:
    """AUC and TPRs of K columns, each [3, K]: value, low and high end of 95 %.

    `tpr` maps an FPR to its curve, or to None where the non-members cannot resolve it.
    """

    auc: np.ndarray
    tpr: Mapping[float, np.ndarray | None]
    members: int
    nonmembers: int

    def spread(self, usable: Bool[np.ndarray, " k"]) -> ColumnCurves:
        """The same with NaN in the columns that had no finite value to measure."""

        def wide(curve: np.ndarray) -> np.ndarray:
            out = np.full((3, len(usable)), np.nan)
            out[:, usable] = curve
            return out

        tpr = {f: None if c is None else wide(c) for f, c in self.tpr.items()}
        return dataclasses.replace(self, auc=wide(self.auc), tpr=tpr)


def measure(
    values: Float[np.ndarray, "n k"], member: Bool[np.ndarray, " n"]
) -> ColumnCurves | None:
    """`curves_of` of the rows and columns with finite values; None without any."""
    usable = np.asarray(np.isfinite(values).any(axis=0))
    keep = np.isfinite(values[:, usable]).all(axis=1)
    if not usable.any() or not both(member[keep]):
        return None
    return curves_of(values[keep][:, usable], member[keep]).spread(usable)


def finite_roc(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> RocCurve | None:
    """`roc_curve` of the finite scores; None where a group has none."""
    keep = np.isfinite(scores)
    return roc_curve(scores[keep], member[keep]) if both(member[keep]) else None


def both(member: np.ndarray) -> bool:
    """Whether there is an image of either group."""
    return bool(member.any() and not member.all())


def roc_grid(nonmembers: int) -> Float[np.ndarray, " p"]:
    """At most `POINTS` FPRs that n non-members resolve, even on a log axis."""
    counts = np.geomspace(1, nonmembers, POINTS).round().astype(np.int64)
    return np.unique(counts) / nonmembers


def roc_curve(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> RocCurve:
    """The ROC of finite membership scores on `roc_grid`, with its band."""
    members = int(np.count_nonzero(member))
    nonmembers = len(member) - members
    band = roc_band(scores, member, roc_grid(nonmembers))
    return RocCurve(band.fpr, band.tpr, band.low, band.high, members, nonmembers)


def curves_of(
    values: Float[np.ndarray, "n k"], member: Bool[np.ndarray, " n"]
) -> ColumnCurves:
    """AUC and TPRs of every column of finite signals, with pointwise intervals."""
    members = int(np.count_nonzero(member))
    nonmembers = len(member) - members
    found = column_curves(values, member, RATES)
    seen = tuple(f for f in RATES if resolvable(f, nonmembers))
    auc = np.empty((3, values.shape[1]))
    tpr = {f: np.empty((3, values.shape[1])) for f in seen}
    for k, column in enumerate(values.T):
        auc[:, k] = found["auc"][k], *_auc_interval(column, member)
        count = tally(column, member)
        for f in seen:
            value = found[f"tpr@{f:g}"][k]
            low, high = tpr_interval(count, f)
            tpr[f][:, k] = value, min(low, value), max(high, value)
    return ColumnCurves(auc, {f: tpr.get(f) for f in RATES}, members, nonmembers)


def _auc_interval(scores: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """95 % by DeLong on the logit scale; binomial where next to no pair is wrong.

    Without the bootstrap of the table's intervals, which a thousand columns would
    take too long for; the variance of an AUC is at most that of a proportion among
    min(N1, N0) pairs (van Dantzig 1951).
    """
    members = int(np.count_nonzero(member))
    pairs = min(members, len(member) - members)
    return auc_limits(*delong(scores, member), pairs)
