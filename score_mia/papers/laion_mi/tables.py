"""The TPR as Dubinski et al. 2023 report it, below ours in a table of attacks.

beside=dict(name="score_mia.papers.laion_mi.tables:Resamples")
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from score_mia.check import at_least
from score_mia.papers.laion_mi.counting import resampled_tpr
from score_mia.report.exhibits import Cell, Extra, RateRow, Row
from score_mia.report.exhibits.base import NONE
from score_mia.report.text import SPACE

_FPR = 0.01


@dataclasses.dataclass(frozen=True)
class Resamples:
    """A row below each of ours: mean ± sd of the TPR at 1 % over 100 samples.

    Attributes:
      size: images of either group in a sample; theirs are 1,000 of 5,000. None for a
        fifth of the smaller group, which is as many of ours.
    """

    size: int | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            at_least("size", self.size, 1)

    def below(self, ours: RateRow) -> Iterator[Extra]:
        """The same scores, counted as they count."""
        scores = ours.audit.scores(ours.attack, ours.column)
        member = ours.audit.member(ours.attack)
        smaller = int(min(member.sum(), (~member).sum()))
        size = self.size or max(1, smaller // 5)
        found = resampled_tpr(scores, member, _FPR, size=size)
        told = f"{100 * found.mean:.1f} ± {100 * found.sd:.1f}{SPACE}%"
        n = f"samples of {found.members} + {found.nonmembers}"
        cells = (
            Cell(ours.attack, "as the paper counts"),
            *[Cell(NONE)] * 2,
            Cell(told, n),
            *[Cell(NONE)] * 2,
        )
        line = ("ours, mean of resamples", *ours.about, "tpr", _FPR, found.mean)
        yield Extra(Row(cells), (line,))

    def caption(self, rows: Sequence[RateRow]) -> str:
        """What a reader must know who looks from theirs to ours."""
        del rows
        return (
            "Rows “as the paper counts” are mean ± sd of the TPR over 100 samples of "
            "the same images: the sd is no interval. Where a sample has fewer than 100 "
            "non-members, its TPR is that at no false positive."
        )
