"""How the paper counts."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from score_mia.check import at_least, within
from score_mia.metrics.roc import classes, tpr_at_fpr
from score_mia.papers.captioned import SEED_MAX


@dataclasses.dataclass(frozen=True)
class Resampled:
    """A rate as the paper prints it, mean ± sd, both as shares of 1.

    Attributes:
      mean: of the TPRs.
      sd: of the TPRs (divided by their number, not by one less).
      members, nonmembers: of each sample.
      resamples: how many samples.
    """

    mean: float
    sd: float
    members: int
    nonmembers: int
    resamples: int


def resampled_tpr(
    scores: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    fpr: float = 0.01,
    *,
    size: int = 1000,
    resamples: int = 100,
    seed: int = 123,
) -> Resampled:
    """TPR at a limit on the FPR, over samples of both groups (Dubinski et al. 2023).

    Theirs is 100 samples of 1,000 members and 1,000 non-members, each drawn without
    repeats from 5,000 of either, at 1 % FPR. Seed, order of draws and the rule "at most
    f" are those of their released code, whose losses are turned round as ours are:
    larger is more member-like.

    The sd is no interval for the TPR, and not half of one. All samples come from the
    same images and overlap, so that it says how much 1,000 of *these* images differ
    from another 1,000 of them, and nothing of other images; it shrinks to 0 as the size
    comes to that of the groups. For an interval, see `score_mia.metrics.intervals`.
    Their best time step is chosen by this very mean, which adds a bias.

    Args:
      scores: larger is more member-like.
      member: True for members.
      fpr: limit on the FPR.
      size: members, and non-members, of a sample; at most what there are.
      resamples: number of samples.
      seed: of the draws, 0 ... 2**32 - 1.

    Raises:
      UserError: a score is NaN or infinite, a group is empty, or an argument is out of
        its bounds.
    """
    at_least("size", size, 1)
    at_least("resamples", resamples, 1)
    within("seed", seed, 0, SEED_MAX)
    inside, outside = classes(np.asarray(scores), np.asarray(member, bool))
    taken = min(size, len(inside)), min(size, len(outside))
    labels = np.arange(sum(taken)) < taken[0]
    random = np.random.RandomState(seed)
    rates = np.empty(resamples)
    for i in range(resamples):
        groups = (inside, outside)
        sample = [
            group[random.choice(len(group), count, replace=False)]
            for group, count in zip(groups, taken, strict=True)
        ]
        rates[i] = tpr_at_fpr(np.concatenate(sample), labels, fpr)
    return Resampled(float(rates.mean()), float(rates.std()), *taken, resamples)
