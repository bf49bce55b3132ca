"""The curves that figures and tables share, computed once from the evaluation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from score_mia.metrics.intervals import auc_limits, delong, roc_band, tpr_interval
from score_mia.metrics.roc import column_curves, resolvable, tally
from score_mia.readings import Readings

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


def measure(readings: Readings) -> ColumnCurves | None:
    """AUC and TPRs of every column of labelled readings, a few columns at a time.

    A row counts if all of its values are finite; columns without any finite value are
    left out of that, and are NaN. None if no row of either group is left.
    """
    member = readings.member
    assert member is not None
    usable, keep = [], np.ones(len(readings), bool)
    for _, values in readings.matrices():
        there = np.isfinite(values)
        usable.append(there.any(axis=0))
        keep &= there[:, usable[-1]].all(axis=1)
    if not any(map(np.any, usable)) or not both(member[keep]):
        return None
    member = member[keep]
    members = int(np.count_nonzero(member))
    nonmembers = len(member) - members
    seen = tuple(f for f in RATES if resolvable(f, nonmembers))
    parts = [np.empty((1 + len(seen), 3, 0))]
    for some, (_, values) in zip(usable, readings.matrices(), strict=True):
        part = np.full((1 + len(seen), 3, len(some)), np.nan)
        for k in np.flatnonzero(some):
            part[..., k] = _curve(values[keep, k].astype(np.float64), member, seen)
        parts.append(part)
    auc, *tpr = np.concatenate(parts, axis=-1)
    known = dict(zip(seen, tpr, strict=True))
    return ColumnCurves(auc, {f: known.get(f) for f in RATES}, members, nonmembers)


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


def _curve(
    scores: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    fprs: Sequence[float],
) -> list[tuple[float, float, float]]:
    """Value, low and high end of the AUC of finite scores, and of each TPR."""
    made = column_curves(scores[:, None], member, tuple(fprs))
    curve = [(float(made["auc"][0]), *_auc_interval(scores, member))]
    count = tally(scores, member)
    for f in fprs:
        value = float(made[f"tpr@{f:g}"][0])
        low, high = tpr_interval(count, f)
        curve.append((value, min(low, value), max(high, value)))
    return curve


def _auc_interval(scores: np.ndarray, member: np.ndarray) -> tuple[float, float]:
    """95 % by DeLong on the logit scale; binomial where next to no pair is wrong.

    Without the bootstrap of the table's intervals, which a thousand columns would
    take too long for; the variance of an AUC is at most that of a proportion among
    min(N1, N0) pairs (van Dantzig 1951).
    """
    members = int(np.count_nonzero(member))
    pairs = min(members, len(member) - members)
    return auc_limits(*delong(scores, member), pairs)
