"""What could tell members from non-members without the model, and must not.

Three checks on a split: near-duplicates across its border (a non-member that nearly is
a member is one, for the model); members that repeat each other, which are memorised
more; and a classifier that never sees the model (a "blind" baseline; if it beats chance
the classes differ by distribution and every attack's figure is inflated), whose
features are made here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from score_mia.check import UserError, at_least
from score_mia.data.near import Boxes, Rows, across, boxes, within
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.data.views import with_squares
from score_mia.readings import Readings

_BLOCK = 2048  # images read at a time, unless they are large
_NUMBERS = 2**22  # of images read at a time: 16 MB
_COARSE = 16  # side to which images are pooled for the first pass
MOST_PAIRS = 1_000_000
"""Pairs that are looked at; more are no list of duplicates."""


@dataclasses.dataclass(frozen=True, eq=False)
class Duplicates:
    """Pairs of a member and a non-member that are (nearly) the same image.

    Attributes:
      members: [P] int64 ids.
      nonmembers: [P] int64 ids.
      rmse: [P] float64, root of the mean squared pixel difference, images in [0, 1];
        0 for exact duplicates.
      threshold: pairs below it (or equal to 0) are listed.
      complete: whether all pairs were looked at; if not, there may be more.
    """

    members: Int[np.ndarray, " p"]
    nonmembers: Int[np.ndarray, " p"]
    rmse: Float[np.ndarray, " p"]
    threshold: float
    complete: bool = True

    def summary(self) -> dict[str, Any]:
        """Counts for the report."""
        return {
            "threshold": self.threshold,
            "pairs": len(self.rmse),
            "exact_pairs": int(np.sum(self.rmse == 0)),
            "members": len(np.unique(self.members)),
            "nonmembers": len(np.unique(self.nonmembers)),
            **({} if self.complete else {"complete": False}),
        }

    def listed(self, source: Source, most: int = 1000) -> list[dict[str, Any]]:
        """The closest pairs as JSON: ids, distance, and file names if there are any."""
        order = np.lexsort((self.nonmembers, self.members, self.rmse))[:most]
        groups = {"member": self.members[order], "nonmember": self.nonmembers[order]}
        columns = {**groups, "rmse": self.rmse[order]}
        for role, ids in groups.items():
            if "file" in (known := source.columns(ids, ("file",))):
                columns[f"{role}_file"] = np.asarray(known["file"], str)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def near_duplicates(
    source: Source,
    split: Split,
    threshold: float = 10 / 255,
    *,
    inside: Boxes | None = None,
) -> Duplicates:
    """All pairs across the split's border whose RMSE is below the threshold.

    No pair is missed, among a thousand images or a million: they are first compared
    after pooling to at most 16x16 grey blocks, and a pooled distance is never larger
    than the true one (Cauchy-Schwarz in each block), and in the few dimensions and the
    boxes of `data.near`; what is left is compared pixel by pixel. After `MOST_PAIRS` of
    those, which no data set of distinct images has, the search ends.

    Args:
      source: the images.
      split: whose members are compared with whose non-members.
      threshold: RMSE on images in [0, 1]; 0 finds exact duplicates only.
      inside: the members, `boxed`; they are not read again for that.
    """
    at_least("threshold", threshold, 0.0)
    split.check(source)
    inside = boxed(source, split.members) if inside is None else inside
    outside = boxed(source, split.nonmembers, like=inside)
    limit = threshold**2 * float(np.prod(source.shape))
    a, b, complete = _first(across(inside, outside, limit))
    a, b = split.members[a], split.nonmembers[b]
    rmse = _rmse(source, a, b)
    keep = (rmse < threshold) | (rmse == 0)
    return Duplicates(a[keep], b[keep], rmse[keep], float(threshold), complete)


@dataclasses.dataclass(frozen=True, eq=False)
class Repeated:
    """Images that are (nearly) the same as another of the same group.

    Attributes:
      ids: [R] int64, ascending: each has at least one such copy.
      exact: [R] whether one of its copies is identical.
      group: [R] from 0 on; the same for images that pairs link, be it by way of others.
      among: how many images were looked at.
      threshold, complete: as of `Duplicates`.
    """

    ids: Int[np.ndarray, " r"]
    exact: Bool[np.ndarray, " r"]
    group: Int[np.ndarray, " r"]
    among: int
    threshold: float
    complete: bool = True

    def summary(self) -> dict[str, Any]:
        """Counts for the report."""
        sizes = np.bincount(self.group)
        return {
            "threshold": self.threshold,
            "images": len(self.ids),
            "exact": int(self.exact.sum()),
            "groups": len(sizes),
            "largest": int(sizes.max(initial=0)),
            "members": self.among,
            **({} if self.complete else {"complete": False}),
        }

    def listed(self, source: Source, most: int = 1000) -> list[dict[str, Any]]:
        """The largest groups as JSON, so many images of them: ids, and file names."""
        size = np.bincount(self.group)[self.group]
        order = np.lexsort((self.ids, self.group, -size))[:most]
        made = []
        for group in dict.fromkeys(self.group[order].tolist()):
            ids = self.ids[order[self.group[order] == group]]
            one: dict[str, Any] = {"members": ids.tolist()}
            if "file" in (known := source.columns(ids, ("file",))):
                one["files"] = np.asarray(known["file"], str).tolist()
            made.append(one)
        return made


def repeats(
    source: Source,
    ids: Int[np.ndarray, " n"],
    threshold: float = 10 / 255,
    *,
    inside: Boxes | None = None,
) -> Repeated:
    """The images that nearly repeat another of the same ids, and their groups.

    No pair is missed, as in `near_duplicates`, up to `MOST_PAIRS`.

    Args:
      source: the images.
      ids: of the group, ascending: a training set.
      threshold: RMSE on images in [0, 1]; 0 finds exact duplicates only.
      inside: these images, `boxed`; they are not read again for that.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    at_least("threshold", threshold, 0.0)
    inside = boxed(source, ids) if inside is None else inside
    limit = threshold**2 * float(np.prod(source.shape))
    a, b, complete = _first(within(inside, limit))
    rmse = _rmse(source, ids[a], ids[b])
    keep = (rmse < threshold) | (rmse == 0)
    a, b, same = a[keep], b[keep], rmse[keep] == 0
    links = coo_array((np.ones(len(a)), (a, b)), shape=(len(ids), len(ids)))
    group = connected_components(links, directed=False)[1]
    rows = np.union1d(a, b)
    exact = np.isin(rows, np.union1d(a[same], b[same]))
    _, group = np.unique(group[rows], return_inverse=True)
    return Repeated(ids[rows], exact, group, len(ids), float(threshold), complete)


def _first(
    found: Iterator[Rows],
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], bool]:
    """The first `MOST_PAIRS` pairs, in the order of the rows, and whether all."""
    none = np.zeros(0, np.int64)
    pairs: list[Rows] = [(none, none)]
    left, complete = MOST_PAIRS, True
    for a, b in found:
        pairs.append((a[:left], b[:left]))
        complete = len(a) <= left
        left -= len(pairs[-1][0])
        if not complete:
            break
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    order = np.lexsort((b, a))
    return a[order], b[order], complete


def boxed(
    source: Source, ids: Int[np.ndarray, " n"], like: Boxes | None = None
) -> Boxes:
    """Images that are to be compared with each other, or with those of other boxes.

    Each is read once and keeps 64 bytes; they are never in memory together.
    """

    def features(start: int, stop: int) -> Float[np.ndarray, "n d"]:
        return pooled(source, ids[start:stop])

    return boxes(features, len(ids), like)


def _block(source: Source) -> int:
    """Images that are read at a time."""
    return max(1, min(_BLOCK, _NUMBERS // int(np.prod(source.shape))))


def pooled(source: Source, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n d"]:
    """Features whose distance is at most that of the images: block sums / sqrt(area).

    Blocks run over all channels; a ragged border is padded with zeros, which are the
    same in every image.
    """
    h, w, c = source.shape
    f = max(-(-h // _COARSE), -(-w // _COARSE))
    rows, columns = -(-h // f), -(-w // f)
    out, step = np.empty((len(ids), rows * columns), np.float32), _block(source)
    for i in range(0, len(ids), step):
        x = source.images(ids[i : i + step])
        x = np.pad(x, ((0, 0), (0, rows * f - h), (0, columns * f - w), (0, 0)))
        x = x.reshape(len(x), rows, f, columns, f, c).sum(axis=(2, 4, 5))
        out[i : i + len(x)] = x.reshape(len(x), -1) / np.sqrt(f * f * c)
    return out


def _rmse(
    source: Source, a: Int[np.ndarray, " p"], b: Int[np.ndarray, " p"]
) -> Float[np.ndarray, " p"]:
    out, step = np.empty(len(a), np.float64), _block(source)
    for i in range(0, len(a), step):
        x = source.images(a[i : i + step]).astype(np.float64)
        difference = x - source.images(b[i : i + step])
        out[i : i + len(x)] = np.sqrt(np.mean(difference**2, axis=(1, 2, 3)))
    return out


def blind_features(
    source: Source,
    split: Split,
    *,
    components: int = 50,
    limit: int = 5000,
    seed: int = 0,
) -> Readings:
    """What a classifier that never sees the model may know of each image.

    The principal components of the pixels and their squares: the former show shifts of
    brightness, colour and content, the latter of contrast, sharpness and noise, which
    leave every mean as it was. They are found on all images at once and see no label.
    `score_mia.metrics.crossfit.cross_fitted` fits the classifier and judges it; an AUC
    interval above 0.5 means that the classes differ by distribution. So does a small
    p-value of `score_mia.metrics.means.differ`, which sees smaller shifts.

    Args:
      source: the images.
      split: the classes; reference and evaluation images alike take part, because
        both were drawn as one, and more images see a smaller difference.
      components: principal components kept.
      limit: at most so many images of each class, chosen at random.
      seed: of the choice and of the decomposition.

    Returns:
      Readings with the columns "pc@0" ... and "pc@0 squared" ....

    Raises:
      UserError: a class of fewer than two images.
    """
    from sklearn.decomposition import PCA

    at_least("components", components, 1)
    at_least("limit", limit, 2)
    split.check(source)
    generator = np.random.RandomState(seed)
    chosen = [
        np.sort(generator.permutation(ids)[:limit])
        for ids in (split.members, split.nonmembers)
    ]
    smaller = min(len(ids) for ids in chosen)
    if smaller < 2:
        raise UserError(
            f"blind baseline: a class has {smaller} image; it needs 2 of each class"
        )
    ids = np.concatenate(chosen)
    member = np.arange(len(ids)) < len(chosen[0])
    pixels = source.images(ids).reshape(len(ids), -1)
    kept = min(components, *pixels.shape)
    pca: Any = PCA(kept, svd_solver="randomized", random_state=seed)
    values = pca.fit_transform(pixels)
    names = [f"pc@{i}" for i in range(kept)]
    return Readings.of(
        with_squares(values),
        ids,
        (*names, *(f"{name} squared" for name in names)),
        member,
    )
