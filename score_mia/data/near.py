"""All pairs of rows that are near each other, among a million: none is missed.

Rows are turned into few dimensions, those in which they differ most: an orthonormal
projection makes no distance larger, so what is far apart there is far apart. They are
put into boxes by halving at medians (the leaves of a k-d tree, Bentley 1975), and only
boxes that are near each other are compared, row by row, by one matrix product. At worst
that is every pair in `DIMENSIONS` dimensions; an approximate index would be as fast and
would have to say how many pairs it misses.

A row takes 2 * `DIMENSIONS` bytes, whatever the images' size.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float, Float16, Int

from score_mia.progress import Progress

DIMENSIONS = 32
"""Of the projected rows, at most."""
BOX = 1024
"""Rows of a box, at most."""

_READ = 2048  # rows that are asked for at a time
_WIDTH = 4  # boxes that one is compared with at a time: 16 MB of distances
_LEARNT = 4096  # rows that the projection, or a cut, is learnt of, or somewhat more
_STRETCH = 64  # of these, rows that lie together

Features = Callable[[int, int], Float[np.ndarray, "n d"]]
"""From start and stop to the rows between them."""

Rows = tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]]
"""The rows of p pairs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Boxes:
    """Rows of one group, projected and in boxes.

    Attributes:
      centre, basis: [d] and [d, k] of the projection.
      rows: [n, k] as they were given.
      order: [n] rows, box by box.
      starts: [b + 1] places in the order at which boxes begin.
      low, high: [b, k] corners.
      moved: how far rounding to 16 bits moved any row.
    """

    centre: Float[np.ndarray, " d"]
    basis: Float[np.ndarray, "d k"]
    rows: Float16[np.ndarray, "n k"]
    order: Int[np.ndarray, " n"]
    starts: Int[np.ndarray, " b1"]
    low: Float[np.ndarray, "b k"]
    high: Float[np.ndarray, "b k"]
    moved: float

    def __len__(self) -> int:
        return len(self.low)

    def box(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows of a box, by their numbers, and their values."""
        own = self.order[self.starts[i] : self.starts[i + 1]]
        return own, self.rows[own].astype(np.float32)


def boxes(features: Features, count: int, like: Boxes | None = None) -> Boxes:
    """Read all rows once, a block at a time, and put them into boxes.

    Args:
      features: of the rows.
      count: how many there are.
      like: boxes of other rows that these are to be compared with; they share a
        projection. Without them it is learnt, of some of the rows.
    """
    centre, basis = _projection(features, count) if like is None else like_of(like)
    rows, moved = np.empty((count, basis.shape[1]), np.float16), 0.0
    with Progress("near-duplicates, reading", count, "rows", quiet=True) as told:
        for i in range(0, count, _READ):
            exact = (features(i, min(i + _READ, count)) - centre) @ basis
            rows[i : i + len(exact)] = exact
            apart = exact - rows[i : i + len(exact)]
            most = np.sum(apart**2, axis=1).max(initial=0.0)
            moved = max(moved, float(np.sqrt(most)))
            told.advance(len(exact))
    order, starts = _halved(rows)
    ends = list(itertools.pairwise(starts.tolist()))
    low, high = np.empty((2, len(ends), rows.shape[1]), np.float32)
    for k, (start, stop) in enumerate(ends):
        own = rows[order[start:stop]]
        low[k], high[k] = own.min(axis=0), own.max(axis=0)
    return Boxes(centre, basis, rows, order, starts, low, high, moved)


def like_of(boxes: Boxes) -> tuple[np.ndarray, np.ndarray]:
    """The projection of other boxes."""
    return boxes.centre, boxes.basis


def _projection(features: Features, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and principal axes of some rows, spread over all of them."""
    step = max(1, count // _LEARNT) * _STRETCH
    some = [features(i, min(i + _STRETCH, count)) for i in range(0, count, step)]
    values = np.concatenate(some)
    values = np.asarray(values, np.float64)
    centre = values.mean(axis=0)
    spread = (values - centre).T @ (values - centre)
    axes = np.linalg.eigh(spread)[1][:, ::-1]
    chosen = np.ascontiguousarray(axes[:, :DIMENSIONS])
    return centre.astype(np.float32), chosen.astype(np.float32)


def _halved(rows: Float16[np.ndarray, "n k"]) -> tuple[np.ndarray, np.ndarray]:
    """The order of the rows, box by box, and where boxes begin."""
    order, starts = np.arange(len(rows)), [len(rows)]
    left = [(0, len(rows))] if len(rows) else []
    while left:
        start, stop = left.pop()
        if stop - start <= BOX:
            starts.append(start)
            continue
        own = order[start:stop]
        some = rows[own[:: max(1, len(own) // _LEARNT)]].astype(np.float32)
        axis = int(np.argmax(some.std(axis=0)))
        middle = len(own) // 2
        cut = np.argpartition(rows[own, axis].astype(np.float32), middle)
        order[start:stop] = own[cut]
        left += [(start, start + middle), (start + middle, stop)]
    return order, np.asarray(sorted(starts))


def within(group: Boxes, limit: float) -> Iterator[Rows]:
    """Pairs of rows of one group whose squared distance may be up to the limit.

    Yields:
      Pairs, each once, the smaller number first. Among them is every pair within the
      limit; that another is as near before the projection is for the caller to see.
    """
    for i, others in _near(group, group, limit):
        for a, b in _compared(group, i, group, others[others >= i], limit):
            once = (a < b) | ~np.isin(b, group.box(i)[0])
            yield np.minimum(a, b)[once], np.maximum(a, b)[once]


def across(one: Boxes, other: Boxes, limit: float) -> Iterator[Rows]:
    """Pairs of rows of two groups, as of `within`: of the one, and of the other."""
    for i, others in _near(one, other, limit):
        yield from _compared(one, i, other, others, limit)


def _within_rounding(one: Boxes, other: Boxes, limit: float) -> float:
    """The squared distance of rounded rows whose true one is up to the limit."""
    return (np.sqrt(limit) + one.moved + other.moved) ** 2


def _near(one: Boxes, other: Boxes, limit: float) -> Iterator[tuple[int, np.ndarray]]:
    """Each box of the one, and those of the other that are not too far from it."""
    reach = _with_room(_within_rounding(one, other, limit))
    sizes = np.diff(one.starts)
    with Progress("near-duplicates", len(one.rows), "rows", quiet=True) as told:
        for i in range(len(one)):
            far = _apart(one, i, other.low, other.high)
            yield i, np.flatnonzero(far <= reach)
            told.advance(int(sizes[i]))


def _apart(
    one: Boxes, i: int, low: Float[np.ndarray, "n k"], high: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, " n"]:
    """The least squared distance of a box from others, or from points: low is high."""
    gap = np.maximum(low - one.high[i], one.low[i] - high)
    return np.sum(np.maximum(gap, 0.0) ** 2, axis=1)


def _with_room(squared: float) -> float:
    """With room for the rounding of a sum."""
    return squared * (1 + 1e-5) + 1e-6


def _compared(
    one: Boxes, i: int, other: Boxes, others: np.ndarray, limit: float
) -> Iterator[Rows]:
    """Close pairs of one box and of some others."""
    if not len(others):
        return
    first, a = one.box(i)
    sizes = np.sum(a**2, axis=1, keepdims=True)
    left = np.concatenate([-2 * a, sizes, np.ones_like(sizes)], axis=1)
    reach = _within_rounding(one, other, limit)
    for start in range(0, len(others), _WIDTH):
        parts = [other.box(j) for j in others[start : start + _WIDTH].tolist()]
        second, b = (np.concatenate(side) for side in zip(*parts, strict=True))
        # Boxes touch: most of a neighbour's rows are far from this box all the same.
        close = _apart(one, i, b, b) <= _with_room(reach)
        if not close.any():
            continue
        second, b = second[close], b[close]
        norms = np.sum(b**2, axis=1, keepdims=True)
        right = np.concatenate([b, np.ones_like(norms), norms], axis=1)
        squared = left @ right.T
        # With room for the rounding of a difference of large numbers.
        bound = reach + 1e-5 * float(sizes.max() + norms.max()) + 1e-6
        if squared.min() <= bound:
            rows, columns = np.nonzero(squared <= bound)
            yield first[rows], second[columns]
