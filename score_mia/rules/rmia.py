"""RMIA, robust membership inference (Zarifzadeh et al. 2024, 2312.03262): is the image
likelier under the target, beside what it is to models in general, than strangers are?

    ratio(x) = Pr(x | target) / Pr(x),   Pr(x) the mean of Pr(x | reference model)
    score(x) = share of strangers z with ratio(x) / ratio(z) >= gamma

What stands for Pr(x | model) is exp(v / temperature) with v the column. For a
classifier the paper has exp(-loss). A column that is minus the mean squared error of
the noise in d numbers is the log-likelihood of that noise under a normal law about the
prediction, but for the factor d / 2: so temperature = 2 / d is the likelihood itself,
and 1 is exp(-loss). Where none is given it is the spread of one image's value over
the shadows without it, so that the ratio counts in units of what chance does; as it
grows, log ratio becomes the column less its mean over the reference models.

A Gaussian model of the column in its place would give p_in / (p_in + p_out), which
orders images as `lira` does; so that is no choice here.

The strangers are images that a shadow was not trained on, asked of that shadow and
held against the others: the target's own strangers are not known to who knows only
shadows. Since all images are held against the same strangers, these give the score its
scale, and no image another place in the order.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import logsumexp

from score_mia.check import positive, require, within
from score_mia.readings import Evidence
from score_mia.rules.beside import Beside, Compared, Law, columns_of
from score_mia.rules.lira import Kind
from score_mia.rules.protocol import Knowledge


@dataclasses.dataclass(frozen=True)
class Rmia:
    """The share of strangers whose likelihood ratio an image's own exceeds.

    Attributes:
      column: its name; None for a signal that has only one.
      online: Pr(x) from models with and without the image, half and half; or, offline,
        only from those without: Pr(x) = ((1 + a) p_out + (1 - a)) / 2.
      a: of the offline form, which takes p_in = a p_out + (1 - a): 1 for p_out alone,
        less where what an image gains by membership shrinks as it nears 1. That makes
        sense of a probability only, so it needs a temperature and a column that is
        never above 0.
      temperature: what the column is divided by before exp; None for the spread of one
        image's value over the shadows without it.
      gamma: how many times a stranger's ratio an image's must be.
    """

    column: str | None = None
    online: bool = True
    a: float = 1.0
    temperature: float | None = None
    gamma: float = 1.0

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("shadows",))

    def __post_init__(self) -> None:
        within("a", self.a, 0.0, 1.0)
        positive("gamma", self.gamma)
        if self.temperature is not None:
            positive("temperature", self.temperature)
        scaled = self.temperature is None or self.online
        problem = "is of the offline form, and of a probability"
        remedy = "say online=False and give a temperature, or leave a out"
        require(self.a == 1 or not scaled, f"a={self.a!r}", problem, remedy)

    def quick(self) -> Rmia:
        """With p_out alone: made-up numbers are no probabilities."""
        return dataclasses.replace(self, a=1.0)

    def fit(self, known: Evidence) -> Compared:
        """Learn Pr(x) of all images that the shadows were asked about.

        Raises:
          UserError: too few shadows, or such as were asked about different images; a
            value that is not finite, or above 0 with `a` below 1.
        """
        given = None if self.column is None else (self.column,)
        names = columns_of(known, "rmia", given, several=False)
        how = "online" if self.online else f"offline, a = {self.a:g}"
        about = f"relative likelihood of {names[0]} ({how})"
        return Compared.on(known, "rmia", self, names, about, self._law)

    def _law(self, beside: Beside) -> Law:
        few = "rule 'rmia'", "the shadows are too few", "train more of them"
        shadows = len(beside.values)
        require(shadows > 1, *few)
        require(
            self.a == 1 or float(beside.values.max()) <= 0,
            f"rule 'rmia': a={self.a!r}",
            "the column exceeds 0, so that exp of it is no probability",
            "leave a out, or take minus a loss",
        )
        pooled = Kind.of(beside, ~beside.member).pooled
        require(self.temperature is not None or pooled is not None, *few)
        spread = math.sqrt(max(pooled or 0.0, beside.floor))
        temperature = self.temperature or spread
        logs, member = beside.values / temperature, beside.member
        normal = self._normal(logs, member)
        strangers = []
        for j in range(shadows):
            rest = np.arange(shadows) != j
            ratio = logs[j] - self._normal(logs[rest], member[rest])
            strangers.append(ratio[~member[j] & np.isfinite(ratio)])
        others = np.sort(np.concatenate(strangers))
        require(len(others) > 0, *few)

        def law(at: np.ndarray, values: np.ndarray) -> np.ndarray:
            unknown = int(np.sum(np.isnan(normal[at])))
            problem = f"of {unknown} images the shadows do not tell Pr(x)"
            require(unknown == 0, "rule 'rmia'", problem, few[2])
            ratio = values / temperature - normal[at] - math.log(self.gamma)
            count = np.searchsorted(others, ratio, side="right")
            # Beyond the last stranger, and between two, by the ratio itself.
            tie = 0.5 + 0.5 * ratio / (1 + np.abs(ratio))
            return (count + tie) / (len(others) + 1)

        return law

    def _normal(
        self, logs: Float[np.ndarray, "s n"], member: Bool[np.ndarray, "s n"]
    ) -> Float[np.ndarray, " n"]:
        """log Pr(x) of each image by some shadows; NaN where they do not tell it."""
        outside = _log_mean(logs, ~member)
        if not self.online:
            if self.a == 1:
                return outside
            share = (math.log((1 + self.a) / 2), math.log((1 - self.a) / 2))
            with np.errstate(invalid="ignore"):
                return np.logaddexp(share[0] + outside, share[1])
        inside = _log_mean(logs, member)
        gaps = (inside - outside)[np.isfinite(inside) & np.isfinite(outside)]
        gap = float(gaps.mean()) if len(gaps) else np.nan
        inside, outside = (
            np.where(np.isnan(inside), outside + gap, inside),
            np.where(np.isnan(outside), inside - gap, outside),
        )
        with np.errstate(invalid="ignore"):  # NaN stays NaN
            return np.logaddexp(inside, outside) - math.log(2)


def _log_mean(
    logs: Float[np.ndarray, "s n"], has: Bool[np.ndarray, "s n"]
) -> Float[np.ndarray, " n"]:
    """log of the mean of exp over the shadows that are meant; NaN of none."""
    count = has.sum(axis=0)
    there = count > 0
    mean = np.full(len(count), np.nan)
    some = logs[:, there]
    total = logsumexp(some, axis=0, b=has[:, there].astype(np.float64))
    mean[there] = total - np.log(count[there])
    return mean
