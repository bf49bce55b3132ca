"""Which of several attacks on the same images is better, and how sure that is.

One bootstrap over members and non-members is shared by all attacks, so that a
difference between two of them is seen on the same resamples. An attack's rank in one
of them is the mean of the places that those of equal AUC share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from score_mia.check import at_least, require
from score_mia.metrics.intervals import resample
from score_mia.metrics.roc import allowed, auc_of, classes, tprs_of

_CELLS = 2**21
"""Resampled counts held at once: bounds memory to some 100 MB."""


class Resampled(NamedTuple):
    """The AUC and TPRs of A attacks in B resamples of the same images.

    Attributes:
      auc: [A, B].
      tpr: [A, B, F] at each of the F rates asked for.
    """

    auc: Float[np.ndarray, "a b"]
    tpr: Float[np.ndarray, "a b f"]


def resampled(
    scores: Float[np.ndarray, "a n"],
    member: Bool[np.ndarray, " n"],
    fprs: tuple[float, ...] = (),
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Resampled:
    """Resample the images, members and non-members each, the same for all attacks.

    Args:
      scores: of each attack, a row each; higher = more member-like.
      member: True for members. The order of images decides what is drawn: sort them.
      fprs: rates for the TPR, which is the conservative one of `metrics.roc`.
      replicates, seed: of the bootstrap.

    Raises:
      UserError: a score is not finite, or a class is empty.
    """
    at_least("replicates", replicates, 1)
    for row in scores:
        classes(row, member)
    groups = [np.flatnonzero(member), np.flatnonzero(~member)]
    streams = [np.random.default_rng([seed, stream]) for stream in (0, 1)]
    ks = np.array([allowed(f, len(groups[1])) for f in fprs], int)
    aucs, tprs = [], []
    step = max(1, _CELLS // len(member))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        members, nonmembers = (
            resample(stream, group, rows, len(member))
            for stream, group in zip(streams, groups, strict=True)
        )
        made = [_one(row, members, nonmembers, ks) for row in scores]
        aucs.append(np.stack([auc for auc, _ in made]))
        tprs.append(np.stack([tpr for _, tpr in made]))
    return Resampled(np.concatenate(aucs, 1), np.concatenate(tprs, 1))


def _one(
    scores: np.ndarray, members: np.ndarray, nonmembers: np.ndarray, ks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """AUC [B] and TPRs [B, F] of one attack from counts [B, N] of the images."""
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf) != 0)
    m, n = (np.add.reduceat(c[:, order], starts, 1) for c in (members, nonmembers))
    return np.asarray(auc_of(m, n)), tprs_of(m, n, ks)


class Ranks(NamedTuple):
    """Places of A attacks among each other, 1 the best, in each of B resamples.

    Attributes:
      best, worst: [A, B], the first and the last of the places that those of equal
        AUC share.
    """

    best: Float[np.ndarray, "a b"]
    worst: Float[np.ndarray, "a b"]

    def summary(self, level: float = 0.95) -> list[tuple[float, float, float]]:
        """(median, low, high) of each attack's rank.

        The median is of the mean places; the interval goes from the quantile of the
        best to that of the worst ones, so that attacks that are always equal have an
        interval of all the places that they share.
        """
        tail = (1 - level) / 2
        middle = np.median((self.best + self.worst) / 2, axis=1)
        # A quantile that is a place, not a number between two.
        low = np.quantile(self.best, tail, axis=1, method="inverted_cdf")
        high = np.quantile(self.worst, 1 - tail, axis=1, method="inverted_cdf")
        made = zip(middle, low, high, strict=True)
        return [(float(m), float(lo), float(hi)) for m, lo, hi in made]


def ranks(auc: Float[np.ndarray, "a b"]) -> Ranks:
    """Places by AUC in each resample; equal AUCs share theirs."""
    require(auc.ndim == 2, "AUCs", "are no table", "give [attacks, resamples]")
    # Two ways to add up the same pairs differ in the last bits.
    rounded = np.round(auc, 12)
    above = rounded[None] > rounded[:, None]
    equal = rounded[None] == rounded[:, None]
    best = 1.0 + above.sum(1)
    return Ranks(best, best + equal.sum(1) - 1)


def joined(parts: list[Ranks]) -> Ranks:
    """Resamples of several targets as one: how ranks vary over both."""
    best, worst = zip(*parts, strict=True)
    return Ranks(np.concatenate(best, 1), np.concatenate(worst, 1))
