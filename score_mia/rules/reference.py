"""A column beside its mean over models that did not see the image: how much of a low
loss is the image's own (Watson et al. 2022, 2111.08440, "difficulty calibration";
Carlini et al. 2021, 2012.07805, compare with a second model's perplexity)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.check import one_of, require
from score_mia.readings import Evidence
from score_mia.rules.beside import Beside, Compared, Law, columns_of, require_out
from score_mia.rules.protocol import Knowledge

KINDS = ("difference", "ratio")


@dataclasses.dataclass(frozen=True)
class ReferenceRatio:
    """The column less, or by the size of, the mean of the shadows without the image.

        difference   v - m_out
        ratio        v / |m_out|

    The cheapest of the rules that know shadows: one is enough, since no variance is
    learned. Offline LiRA with a pooled variance orders the images of one column as the
    difference does.

    Attributes:
      column: its name; None for a signal that has only one.
      kind: "difference" or "ratio"; the latter for columns of one sign, such as minus
        a loss or a likelihood: one that changes sign has no ratio.
    """

    column: str | None = None
    kind: str = "difference"

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("shadows",))

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)

    def quick(self) -> ReferenceRatio:
        """The difference: made-up numbers are of either sign."""
        return dataclasses.replace(self, kind="difference")

    def fit(self, known: Evidence) -> Compared:
        """Learn the means of all images that the shadows were asked about.

        Raises:
          UserError: no shadow, shadows that were asked about different images, a value
            that is not finite, or a ratio to what is not of one sign.
        """
        rule = "reference_ratio"
        given = None if self.column is None else (self.column,)
        names = columns_of(known, rule, given, several=False)
        about = f"{self.kind} of {names[0]} to its mean off models without the image"
        return Compared.on(known, rule, self, names, about, self._law)

    def _law(self, beside: Beside) -> Law:
        mean = beside.means(~beside.member)
        if self.kind == "ratio":
            values = beside.values
            require(
                bool((values > 0).all() or (values < 0).all()),
                "rule 'reference_ratio': kind='ratio'",
                "the column is not of one sign",
                "say kind='difference'",
            )

        def law(at: np.ndarray, values: np.ndarray) -> np.ndarray:
            require_out(~np.isnan(mean[at]), "reference_ratio")
            if self.kind == "difference":
                return values - mean[at]
            return values / np.abs(mean[at])

        return law
