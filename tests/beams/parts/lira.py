"""LiRA (Carlini et al. 2022, 2112.03570) on the readings of shadow models."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.check import require


@dataclasses.dataclass(frozen=True)
class Ratio:
    """log N(s; m_in, v_in) - log N(s; m_out, v_out) of each image's own value s.

    m are means over the shadows that had the image among their members and over those
    that had not; an image that one kind of shadow lacks takes the other's mean, moved
    by the mean difference of all images. v are pooled over all images of the shadows,
    as few shadows tell little of one image's variance.
    """

    column: str
    fitted_on: int = 0

    @property
    def columns(self):
        return (self.column,)

    @property
    def about(self):
        return f"likelihood ratio of {self.column} against shadow models"

    def __call__(self, rows):
        ids = rows.others[0].ids if rows.others else rows.target.ids[:0]
        same = all(np.array_equal(other.ids, ids) for other in rows.others)
        same = same and bool(np.isin(rows.target.ids, ids).all())
        require(
            same,
            "rule 'lira'",
            "has images that not every shadow has read",
            "read the same images off every model",
        )
        at = np.searchsorted(ids, rows.target.ids)
        member = np.stack([other.member for other in rows.others])
        values = [other.column(self.column) for other in rows.others]
        values = np.stack(values).astype(np.float64)
        inside, outside = (_law(values, has) for has in (member, ~member))
        both = inside.there & outside.there
        require(
            bool(both.any()),
            "rule 'lira'",
            "has no image that is a member of some shadows and not of others",
            "give overlapping shadows",
        )
        gap = float(np.mean((inside.mean - outside.mean)[both]))
        mean_in = np.where(inside.there, inside.mean, outside.mean + gap)[at]
        mean_out = np.where(outside.there, outside.mean, inside.mean - gap)[at]
        own = rows.target.column(self.column).astype(np.float64)
        return inside.log(own, mean_in) - outside.log(own, mean_out)


@dataclasses.dataclass(frozen=True, eq=False)
class _Law:
    """Means [N] of the images that some shadow is of that kind for; one variance."""

    mean: np.ndarray
    there: np.ndarray
    variance: float

    def log(self, value, mean):
        away = (value - mean) ** 2 / self.variance
        return -0.5 * (away + np.log(self.variance))


def _law(values, has):
    """Of the shadows [S, N] that are meant."""
    count = has.sum(axis=0)
    mean = np.where(has, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    away = np.where(has, values - mean, 0.0)
    freedom = max(int(np.maximum(count - 1, 0).sum()), 1)
    return _Law(mean, count > 0, float((away**2).sum()) / freedom)


@dataclasses.dataclass(frozen=True)
class Lira:
    """The likelihood ratio of one column.

    Attributes:
      column: its name; None for a signal that has only one.
    """

    accepts: ClassVar[frozenset] = frozenset(("shadows",))
    column: str | None = None

    def fit(self, known):
        names = known.target.names
        require(
            self.column is not None or len(names) == 1,
            "rule 'lira'",
            f"the signal has {len(names)} columns and none is named",
            "give column=...",
        )
        return Ratio(self.column or names[0], sum(map(len, known.others)))
