"""Tables of attacks as wholes: a row each, or a grid of variants of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from score_mia.check import one_of, require
from score_mia.report import table
from score_mia.report.content import titles_of
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.exhibits.tables import (
    OURS,
    RATE_CSV,
    BesideRates,
    RateRow,
    given_beside,
)
from score_mia.report.text import (
    ABOVE,
    SPACE,
    above_nominal,
    level,
    nominal,
    numbers,
)
from score_mia.results import AttackResult, Estimate

_FPRS = (0.1, 0.01)
MEASURES = {
    "auc": ("AUC", False),
    "tpr@0.1": (f"TPR at 10{SPACE}% FPR", True),
    "tpr@0.01": (f"TPR at 1{SPACE}% FPR", True),
}
"""Measure of a grid -> its name, and whether it is shown in per cent."""
CSV = (*RATE_CSV, "cost_per_image", "cost_in", "nominal_fpr", "above_nominal")
"""Columns of the csv of both tables; the last two of the FPR at a fixed threshold."""


@dataclasses.dataclass(frozen=True)
class AttackTable(base.Exhibit):
    """Attacks, a row each: AUC, TPR, the FPR that came of a nominal one, and the cost.

    Attributes:
      attacks: which, in this order, with how they are called; a list keeps the names,
        None takes all of each audit.
      beside: what gives further rows, by "module:Name" (`BesideRates`).
    """

    attacks: Mapping[str, str] | tuple[str, ...] | None = None
    beside: Mapping[str, Any] | None = None

    heading: ClassVar[str] = "Attacks"

    def __post_init__(self) -> None:
        given_beside(self.beside, BesideRates)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse attacks that the audit will not have."""
        for attack in self.attacks or ():
            planned.find(attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        header = (
            *("Attack", "AUC"),
            *(f"TPR at {level(f)}{SPACE}FPR" for f in _FPRS),
            *("FPR, nominal to realised", "Cost of an image"),
        )
        rows, lines, ours = [], [], []
        others = given_beside(self.beside, BesideRates)
        several = len(audits) > 1
        for audit in audits:
            for attack, title in self._named(audit):
                entry = audit.result.attacks[attack]
                name = f"{audit.label}: {title}" if several else title
                rows.append(_row(name, entry))
                lines += _csv(audit, attack, entry)
                ours.append(RateRow(audit, attack))
                for extra in others.below(ours[-1]) if others is not None else ():
                    rows.append(extra.row)
                    lines += extra.csv
        caption = _caption(audits, [row.attack for row in ours])
        if others is not None:
            caption += f" {others.caption(ours)}"
        csv = table.csv_text(CSV, lines)
        made = base.Table(header, tuple(rows))
        return Built(caption, csv, "Table of attacks.", made)

    def _named(self, audit: Audit) -> Iterator[tuple[str, str]]:
        if isinstance(self.attacks, Mapping):
            yield from self.attacks.items()
            return
        titles = titles_of(audit.result)
        for name in titles if self.attacks is None else self.attacks:
            yield name, titles[name]


@dataclasses.dataclass(frozen=True)
class AttackGrid(base.Exhibit):
    """One measure of many attacks: variants of something by variants of another.

    Attributes:
      cells: row -> column -> name of the attack; rows and columns as they are called.
      corner: what stands over the rows.
      measure: "auc", "tpr@0.1" or "tpr@0.01".
    """

    cells: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    corner: str = ""
    measure: str = "auc"

    heading: ClassVar[str] = "Variants of an attack"

    def __post_init__(self) -> None:
        one_of("measure", self.measure, MEASURES)
        require(len(self.cells) > 0, "cells", "are none", "give rows of attacks")

    @property
    def _columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for row in self.cells.values() for c in row))

    @property
    def _attacks(self) -> list[str]:
        return [attack for row in self.cells.values() for attack in row.values()]

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse attacks that the audit will not have."""
        for attack in self._attacks:
            planned.find(attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers: a block of rows for each audit."""
        title, percent = MEASURES[self.measure]
        several = len(audits) > 1
        rows, lines = [], []
        for audit in audits:
            for name, row in self.cells.items():
                made = [Cell(f"{audit.label}: {name}" if several else name)]
                for column in self._columns:
                    made.append(self._cell(audit, row.get(column), percent))
                rows.append(Row(tuple(made)))
            for attack in self._attacks:
                lines += _csv(audit, attack, audit.result.attacks[attack])
        header = (self.corner or title, *self._columns)
        caption = f"{title}. {_caption(audits, self._attacks)}"
        caption += f" {_costs(audits, self._attacks)}"
        csv = table.csv_text(CSV, lines)
        made = base.Table(header, tuple(rows))
        return Built(caption, csv, f"Grid of {title}.", made)

    def _cell(self, audit: Audit, attack: str | None, percent: bool) -> Cell:
        if attack is None:
            return Cell(base.NONE, known=False)
        entry = audit.result.attacks[attack]
        estimate = estimate_of(entry, self.measure)
        return base.number(estimate, entry.nonmembers, percent)


def estimate_of(entry: AttackResult, measure: str) -> Estimate:
    """The number of an attack that one of `MEASURES` names."""
    if measure == "auc":
        return entry.auc
    return entry.tpr_at_fpr[float(measure.partition("@")[2])]


def _row(name: str, entry: AttackResult) -> Row:
    n = entry.nonmembers
    rates = [base.number(entry.tpr_at_fpr[f], n) for f in _FPRS]
    each, unit = table.cost(entry)
    auc = base.number(entry.auc, n, percent=False)
    cost = Cell(each, unit)
    return Row((Cell(name, entry.chosen), auc, *rates, _realised(entry), cost))


def _realised(entry: AttackResult) -> Cell:
    """What FPR came of the threshold that was fixed for a nominal one."""
    fixed = entry.at_fixed_threshold
    if fixed is None or fixed.nominal_fpr is None:
        return Cell(base.NONE, known=False)
    found = base.number(fixed.fpr, entry.nonmembers)
    below = f"{found.below}, {ABOVE}" if fixed.above_nominal else found.below
    return Cell(f"{level(fixed.nominal_fpr)} to {found.value}", below)


def _csv(audit: Audit, attack: str, entry: AttackResult) -> Iterator[Sequence[Any]]:
    each, unit = table.cost(entry)
    counts = (entry.members, entry.nonmembers, entry.level)
    for measure, rate, e in table.measures(entry):
        about = RateRow(audit, attack).about
        line = (OURS, *about, measure, rate, *numbers(e), *counts, each, unit)
        yield (*line, *(_promise(entry) if measure == "fpr_at_fixed_threshold" else ()))


def _promise(entry: AttackResult) -> tuple[Any, ...]:
    """The nominal FPR, and whether the one that came of it is above."""
    fixed = entry.at_fixed_threshold
    if fixed is None or fixed.nominal_fpr is None:
        return ()
    return fixed.nominal_fpr, fixed.above_nominal


def _costs(audits: Sequence[Audit], attacks: Sequence[str]) -> str:
    """What an image costs in each audit, from its cheapest attack to its dearest."""
    said = []
    for audit in audits:
        entries = [audit.result.attacks[name] for name in attacks]
        entries.sort(key=lambda entry: table.amount(entry)[0] or 0.0)
        ends = dict.fromkeys(" ".join(table.cost(e)) for e in (entries[0], entries[-1]))
        name = f"{audit.label}: " if len(audits) > 1 else ""
        said.append(name + " to ".join(ends))
    return f"An image costs {'; '.join(said)}."


def _caption(audits: Sequence[Audit], attacks: Sequence[str]) -> str:
    counts = {
        a.counts(name) for a in audits for name in attacks if name in a.result.attacks
    }
    most = max(counts)
    each = f"{most[0]:,} members and {most[1]:,} non-members"
    same = "" if len(counts) == 1 else " at most"
    above = _above(audits, attacks)
    return (
        f"Evaluated on{same} {each}; in brackets {base.levels(audits)} intervals; "
        "members are the positive class. “Below resolution”: too few non-members to "
        f"show the rate.{above}"
    )


def _above(audits: Sequence[Audit], attacks: Sequence[str]) -> str:
    """Which fixed thresholds accuse more than they were set for, and how much more."""
    said = []
    for audit in audits:
        titles = titles_of(audit.result)
        where = f"{audit.label}, " if len(audits) > 1 else ""
        for name in dict.fromkeys(attacks):
            entry = audit.result.attacks.get(name)
            if entry is not None and above_nominal(entry):
                said.append(f"{where}{titles[name]}: {nominal(entry)}")
    if not said:
        return ""
    return (
        f" “{ABOVE.capitalize()}”: the realised FPR's lower limit exceeds the nominal "
        f"rate ({'; '.join(said)})."
    )
