"""Copies among samples: how near a model's images are to those it was trained on.

Three statements, from the distances of each sample to members and to non-members:

1. *Near-copies.* The distance to the nearest image, divided by `alpha` times the mean
   distance to the `n` nearest, as in Carlini et al. 2023 (2301.13188), Section 5.1: an
   image that is much closer than its neighbours is a copy, whereas one in a crowd of
   flat images is near to all of them. They take the Euclidean distance of pixels,
   n = 50 and alpha = 0.5. Here the neighbours are the sample's own, the nearest one
   among them.
2. *The control.* The same of non-members, which the model cannot have copied.
3. *Which group is nearer.* The share of samples whose nearest image is a member. If who
   is a member makes no difference, each image is one with the chance of any other, and
   that share is members / (members + non-members).

Images have 8 bits a colour and distances are of whole numbers: no tile, order or
machine changes a bit of which image is the nearest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from score_mia.check import at_least, positive, require
from score_mia.metrics.intervals import clopper_pearson, proportion
from score_mia.results import Estimate

SAMPLES, IMAGES = 1024, 1024
"""Samples and images held against each other at a time: 8 MB of distances."""

_DRAWS = 9_999
"""Random memberships by which the share of nearest members is judged."""


@dataclasses.dataclass(frozen=True)
class Copying:
    """What counts as a copy among the target's samples.

    Attributes:
      alpha: by which the mean distance to the neighbours is multiplied.
      neighbours: how many of the nearest images that mean is over; all, where there
        are fewer.
      threshold: a sample whose relative distance is below it is a near-copy.
    """

    alpha: float = 0.5
    neighbours: int = 50
    threshold: float = 1.0

    def __post_init__(self) -> None:
        positive("copies.alpha", self.alpha)
        at_least("copies.neighbours", self.neighbours, 2)
        positive("copies.threshold", self.threshold)


class Neighbours(NamedTuple):
    """The images of one group that are nearest to each of s samples.

    Attributes:
      index: [s] id of the nearest; of several as near, the smallest.
      nearest: [s] its distance, the root-mean-square difference of pixels in [0, 1].
      mean: [s] mean of that distance over the nearest `used` images.
      used: how many that mean is over.
      among: how many images there are.
    """

    index: Int[np.ndarray, " s"]
    nearest: Float[np.ndarray, " s"]
    mean: Float[np.ndarray, " s"]
    used: int
    among: int

    def relative(self, alpha: float) -> Float[np.ndarray, " s"]:
        """nearest / (alpha * mean); 0 for an exact copy, whatever else is there."""
        scale = np.where(self.nearest > 0, alpha * self.mean, 1.0)
        return self.nearest / scale


def neighbours(
    samples: UInt8[np.ndarray, "s h w c"],
    ids: Int[np.ndarray, " m"],
    pictures: Callable[[np.ndarray], np.ndarray],
    count: int,
    *,
    tile: tuple[int, int] = (SAMPLES, IMAGES),
) -> Neighbours:
    """The nearest images of each sample, by brute force, a tile at a time.

    Args:
      samples: at least one.
      ids: of the images, at least one, in any order.
      pictures: from ids to images uint8 [n, h, w, c]; asked once for each image.
      count: the mean is over so many of the nearest images, or all if there are fewer.
      tile: samples and images held against each other at a time.

    Raises:
      UserError: there are no images, or they have another shape than the samples.
    """
    require(len(ids) > 0, "neighbours", "there are no images", "give some")
    at_least("count", count, 1)
    ids, used = np.sort(ids), min(count, len(ids))
    flat = samples.reshape(len(samples), -1)
    best = np.full((len(flat), used), np.inf)
    index = np.full(len(flat), ids[0])
    for j in range(0, len(ids), tile[1]):
        block = ids[j : j + tile[1]]
        images = pictures(block)
        require(
            images.shape[1:] == samples.shape[1:],
            f"images of shape {images.shape[1:]}",
            f"are held against samples of shape {samples.shape[1:]}",
            "draw samples of the images' shape",
        )
        others = images.reshape(len(images), -1).astype(np.float64)
        for i in range(0, len(flat), tile[0]):
            rows = slice(i, i + tile[0])
            squared = _squared(flat[rows].astype(np.float64), others)
            first = squared.argmin(axis=1)
            closer = squared[np.arange(len(first)), first] < best[rows].min(axis=1)
            index[rows] = np.where(closer, block[first], index[rows])
            both = np.concatenate((best[rows], squared), axis=1)
            best[rows] = np.partition(both, used - 1, axis=1)[:, :used]
    far = np.sqrt(np.sort(best, axis=1) / flat.shape[1]) / 255
    return Neighbours(index, far[:, 0], far.mean(axis=1), used, len(ids))


def _squared(
    a: Float[np.ndarray, "s d"], b: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "s m"]:
    """|a - b|² of each pair: whole numbers below 2^53, so that every sum is exact."""
    sizes = np.einsum("sd,sd->s", a, a)[:, None] + np.einsum("md,md->m", b, b)
    return sizes - 2 * (a @ b.T)


@dataclasses.dataclass(frozen=True)
class Group:
    """Samples held against one group of images.

    Attributes:
      images, neighbours: how many there are; over how many of the nearest the mean
        distance was taken.
      copies, copied: samples that are near-copies; different images that these are of.
      rate: share of near-copies among the samples.
      least, median: of the samples' distances to the nearest image.
    """

    images: int
    neighbours: int
    copies: int
    copied: int
    rate: Estimate
    least: float
    median: float


@dataclasses.dataclass(frozen=True)
class Nearer:
    """Whether the samples are nearer to members than to non-members.

    Attributes:
      share: of the samples whose nearest image is a member, ties left out.
      expected: that share if who is a member makes no difference to the model.
      p_value: of so large a share, if each image had been a member with the chance of
        any other; 1 / 10,000 at the least.
      samples, images: without ties; different images that are nearest to any of them.
      ties: samples as near to a member as to a non-member.
    """

    share: Estimate
    expected: float
    p_value: float
    samples: int
    images: int
    ties: int


@dataclasses.dataclass(frozen=True)
class Copies:
    """What is said of the copies among an audit's samples.

    Attributes:
      samples: how many were looked at.
      setting: what counted as a copy.
      level: of the intervals.
      members, nonmembers: the samples held against either group; None for a group
        without images.
      nearer: which of the two is nearer; None without non-members, and if all tie.
    """

    samples: int
    setting: Copying
    level: float
    members: Group
    nonmembers: Group | None = None
    nearer: Nearer | None = None


def summary(
    members: Neighbours,
    nonmembers: Neighbours | None,
    setting: Copying,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Copies:
    """What the distances of the same samples to either group come to.

    Args:
      members, nonmembers: by `neighbours`.
      setting: what counts as a copy.
      level: coverage of the intervals (Clopper-Pearson, over samples).
      seed: of the random memberships.
    """
    other = None if nonmembers is None else _group(nonmembers, setting, level)
    near = None
    if nonmembers is not None:
        near = _nearer(members, nonmembers, level, seed)
    one = _group(members, setting, level)
    return Copies(len(members.index), setting, level, one, other, near)


def _group(near: Neighbours, setting: Copying, level: float) -> Group:
    copy = near.relative(setting.alpha) < setting.threshold
    return Group(
        images=near.among,
        neighbours=near.used,
        copies=int(copy.sum()),
        copied=len(np.unique(near.index[copy])),
        rate=proportion(int(copy.sum()), len(copy), level),
        least=float(near.nearest.min()),
        median=float(np.median(near.nearest)),
    )


def _nearer(
    members: Neighbours, nonmembers: Neighbours, level: float, seed: int
) -> Nearer | None:
    apart = members.nearest != nonmembers.nearest
    if not apart.any():
        return None
    inside = (members.nearest < nonmembers.nearest)[apart]
    index = np.where(inside, members.index[apart], nonmembers.index[apart])
    groups = (members.among, nonmembers.among)
    images, counts = np.unique(index, return_counts=True)
    # All samples next to one image are next to a member, or none: one observation.
    # As many as would spread alike if each image were next to as many samples.
    share, n = float(inside.mean()), float(np.sum(counts) ** 2 / np.sum(counts**2))
    return Nearer(
        share=Estimate(share, *clopper_pearson(min(share * n, n), n, level)),
        expected=members.among / sum(groups),
        p_value=_chance(inside, counts, groups, seed),
        samples=len(inside),
        images=len(images),
        ties=int((~apart).sum()),
    )


def _chance(
    inside: Bool[np.ndarray, " s"],
    counts: Int[np.ndarray, " k"],
    groups: tuple[int, int],
    seed: int,
) -> float:
    """P-value of the number of samples next to members, under random memberships.

    The images stay where they are, and with them `counts`, the samples next to each of
    k images; which images are members is drawn anew. Samples next to one and the same
    image are thus one piece of evidence and not many: in spaces of many dimensions a
    few images are the nearest to most others.
    """
    random = np.random.RandomState(seed)
    good, bad = (np.full(_DRAWS, n) for n in groups)
    total = np.zeros(_DRAWS, np.int64)
    for value, images in zip(*np.unique(counts, return_counts=True), strict=True):
        drawn = random.hypergeometric(good, bad, int(images))
        total += value * drawn
        good, bad = good - drawn, bad - (images - drawn)
    return (1 + int(np.sum(total >= inside.sum()))) / (1 + _DRAWS)
