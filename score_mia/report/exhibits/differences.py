"""By how much attacks gain or lose when a target is read, or made, in another way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from score_mia.check import one_of, require
from score_mia.metrics.paired import paired
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.table import csv_text
from score_mia.results import Estimate

CSV = ("attack", "pair", "first", "second", "auc_first", "auc_second", "difference")
CSV += ("low", "high", "members", "nonmembers", "level")


@dataclasses.dataclass(frozen=True)
class Differences(base.Exhibit):
    """The AUC of each attack in two audits of the same images, and their difference.

    The difference is paired: both audits judge the same images, so that what these
    have in common does not widen its interval (`metrics.paired`).

    Attributes:
      pairs: how a pair is called -> its two audits; the first's AUC is taken off the
        second's.
      attacks: which, with how they are called; None for all that both audits have.
    """

    pairs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    attacks: Mapping[str, str] | None = None

    heading: ClassVar[str] = "Differences"

    def __post_init__(self) -> None:
        require(len(self.pairs) > 0, "pairs", "are none", "name two audits")
        for name, two in self.pairs.items():
            ok = isinstance(two, list | tuple) and len(two) == 2
            require(ok, f"pairs.{name}", "is no pair", "name two audits")

    def among(self, names: Any) -> tuple[str, ...]:
        """The audits of its pairs."""
        named, wanted = tuple(names), []
        for two in self.pairs.values():
            for name in two:
                one_of("audit", name, named)
                wanted.append(name)
        return tuple(n for n in super().among(named) if n in wanted)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse an attack that the audit will not have."""
        for attack in self.attacks or ():
            planned.find(attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        by_name, rows, lines = {a.name: a for a in audits}, [], []
        for name, two in self.pairs.items():
            if all(each in by_name for each in two):
                pair = by_name[two[0]], by_name[two[1]]
                for cells, line in self._of(name, *pair):
                    rows.append(Row(cells))
                    lines.append(line)
        problem, remedy = "have no pair that is finished", "run the study again"
        require(len(rows) > 0, "differences", problem, remedy)
        header = ("Attack", "Pair", "AUC, first", "AUC, second", "Difference")
        caption = (
            "AUC of the same attack on the same images in two audits, and the second "
            f"less the first; in brackets {base.levels(audits)} intervals, that of the "
            "difference paired over images."
        )
        made = base.Table(header, tuple(rows))
        return Built(caption, csv_text(CSV, lines), "Table of differences.", made)

    def _of(
        self, pair: str, first: Audit, second: Audit
    ) -> Iterator[tuple[tuple[Cell, ...], Sequence[Any]]]:
        have = [n for n in first.result.scored if n in second.result.scored]
        titles = dict(zip(have, have, strict=True))
        for attack, title in (self.attacks or titles).items():
            same = np.array_equal(first.ids(attack), second.ids(attack))
            problem = f"judge {attack!r} on other images than each other"
            two, remedy = f"audits of {pair!r}", "give them one split"
            require(same, two, problem, remedy)
            member, coverage = first.member(attack), first.result.level
            judged = second.scores(attack), first.scores(attack)
            found = paired(*judged, member, level=coverage)
            entries = [audit.entry(attack) for audit in (first, second)]
            counts = entries[0].members, entries[0].nonmembers
            shown = [base.number(e.auc, e.nonmembers, percent=False) for e in entries]
            cells = (Cell(title), Cell(pair), *shown, _signed(found))
            names = (attack, pair, first.name, second.name)
            values = (*(e.auc.value for e in entries), *found.interval)
            yield cells, (*names, *values, *counts, coverage)


def _signed(e: Estimate) -> Cell:
    value, low, high = e.interval
    return Cell(f"{value:+.4f}", f"[{low:+.4f}, {high:+.4f}]")
