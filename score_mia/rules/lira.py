"""LiRA, the likelihood-ratio attack (Carlini et al. 2022, 2112.03570; on diffusion
models 2301.13188): how much likelier is what the target says of an image if the image
was in its training set?

Each image has two laws of its own, both Gaussian: of the values that shadow models give
it which had it, and which had it not.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import log_ndtr

from score_mia.check import at_least, require
from score_mia.readings import Evidence
from score_mia.rules.beside import Beside, Compared, Law, columns_of, require_out
from score_mia.rules.protocol import Knowledge


class Kind(NamedTuple):
    """Values of each image off the shadows of one kind, those with it or without it.

    Attributes:
      count: [n] how many there are.
      mean: [n]; NaN where there is none.
      squares: [n] sum of squared distances from the mean.
    """

    count: Float[np.ndarray, " n"]
    mean: Float[np.ndarray, " n"]
    squares: Float[np.ndarray, " n"]

    @staticmethod
    def of(beside: Beside, has: Bool[np.ndarray, "s n"]) -> Kind:
        """Of the shadows that are meant."""
        mean = beside.means(has)
        away = np.where(has, beside.values - mean, 0.0)
        return Kind(has.sum(axis=0), mean, (away**2).sum(axis=0))

    @property
    def there(self) -> Bool[np.ndarray, " n"]:
        """[n] whether there is any."""
        return self.count > 0

    @property
    def pooled(self) -> float | None:
        """The variance about the images' means; None if no image has two values."""
        freedom = int(np.maximum(self.count - 1, 0).sum())
        return float(self.squares.sum()) / freedom if freedom else None

    def variance(self, pooled: float, own: int | None) -> Float[np.ndarray, " n"]:
        """[n] the image's own where it has so many values, else the pooled one."""
        many = self.count >= (np.inf if own is None else own)
        return np.where(many, self.squares / np.maximum(self.count - 1, 1), pooled)


@dataclasses.dataclass(frozen=True)
class Lira:
    """The likelihood ratio of each image's own two Gaussians.

        online    sum_c log N(v_c; m_in, s_in) - log N(v_c; m_out, s_out)
        offline   sum_c -log Pr[Z >= v_c],  Z ~ N(m_out, s_out)

    Columns count as independent, which loosens their scale and seldom their order. An
    image that one kind of shadow lacks takes the other's mean, moved by the mean
    difference of all images that have both: so "auxiliary" shadows, which never have
    a judged image, do as well. Offline, a value is unusual on its upper side only, as
    the paper says (its code has both sides).

    Attributes:
      columns: names; None for all.
      online: compare with shadows that had the image, or only with those that had not.
      own: from how many values of a kind on an image has a variance of its own; with
        fewer it is pooled over all images, as the paper does below 64 shadows. None
        for always.
    """

    columns: tuple[str, ...] | None = None
    online: bool = True
    own: int | None = 32

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("shadows",))

    def __post_init__(self) -> None:
        if self.columns is not None:
            require(len(self.columns) > 0, "columns=()", "is empty", "name one")
        if self.own is not None:
            at_least("own", self.own, 2)

    def fit(self, known: Evidence) -> Compared:
        """Learn the laws of all images that the shadows were asked about.

        Raises:
          UserError: shadows that are too few for a variance, were asked about different
            images, or (online) do not overlap; a value that is not finite.
        """
        names = columns_of(known, "lira", self.columns)
        kind = "likelihood ratio" if self.online else "offline likelihood ratio"
        what = names[0] if len(names) == 1 else f"{len(names)} columns"
        law = self._online if self.online else self._offline
        return Compared.on(known, "lira", self, names, f"{kind} of {what}", law)

    def _online(self, beside: Beside) -> Law:
        inside, outside = (Kind.of(beside, m) for m in (beside.member, ~beside.member))
        both = inside.there & outside.there
        require(
            bool(both.any()),
            "rule 'lira'",
            "has no image that is in some shadows and out of others",
            "give overlapping shadows, or say online=False",
        )
        gap = float(np.mean((inside.mean - outside.mean)[both]))
        means = (
            np.where(inside.there, inside.mean, outside.mean + gap),
            np.where(outside.there, outside.mean, inside.mean - gap),
        )
        # One variance for both kinds where only one of them can tell it.
        pooled = [kind.pooled for kind in (inside, outside)]
        told = [value for value in pooled if value is not None]
        _require_variance(len(told) > 0)
        variances = [
            np.maximum(
                kind.variance(told[0] if p is None else p, self.own), beside.floor
            )
            for kind, p in zip((inside, outside), pooled, strict=True)
        ]

        def law(at: np.ndarray, values: np.ndarray) -> np.ndarray:
            ins, outs = (
                (values - m[at]) ** 2 / v[at] + np.log(v[at])
                for m, v in zip(means, variances, strict=True)
            )
            return 0.5 * (outs - ins)

        return law

    def _offline(self, beside: Beside) -> Law:
        outside = Kind.of(beside, ~beside.member)
        pooled = outside.pooled
        _require_variance(pooled is not None)
        variance = outside.variance(pooled or 0.0, self.own)
        scale = np.sqrt(np.maximum(variance, beside.floor))

        def law(at: np.ndarray, values: np.ndarray) -> np.ndarray:
            require_out(outside.there[at], "lira")
            return -log_ndtr((outside.mean[at] - values) / scale[at])

        return law


def _require_variance(told: bool) -> None:
    problem = "no image has two values of one kind, so there is no variance"
    require(told, "rule 'lira'", problem, "train more shadows")
