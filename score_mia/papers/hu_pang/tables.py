"""The paper's rows beside ours, in the tables of a study.

dict(name="loss_table", ...,
     beside=dict(name="score_mia.papers.hu_pang.tables:Rates", table="Table 2"))
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from score_mia.check import one_of
from score_mia.metrics.roc import FPRS
from score_mia.papers.hu_pang import published
from score_mia.papers.hu_pang.counting import paper_compatible
from score_mia.report.exhibits import Audit, Cell, Extra, RateRow, Row
from score_mia.report.exhibits.base import NONE
from score_mia.report.text import SPACE, share

LOSS = "score_mia.attacks.loss.Loss"
LIKELIHOOD = "score_mia.attacks.likelihood.Likelihood"
"""The signals that measure what the paper measures."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Rows of the paper below ours, in a table of attacks.

    Attributes:
      table: "Table 2", "Table 3" or "Table 4": its row with the same process, attack
        and step; None for no rows of the paper.
      counted: whether a row of ours is added, counted as the paper's code counts:
        non-members positive, and numbers even below the resolution.
    """

    table: str | None = None
    counted: bool = False

    def __post_init__(self) -> None:
        if self.table is not None:
            one_of("table", self.table, published.RATE_TABLES)

    def below(self, ours: RateRow) -> Iterator[Extra]:
        """Our row as the paper counts, then the paper's own, where wanted and known."""
        if self.counted:
            yield _counted(ours)
        rate = self._rate(ours)
        if rate is not None:
            yield _printed(str(self.table), rate)

    def caption(self, rows: Sequence[RateRow]) -> str:
        """What a reader must know who looks from the paper's rates to ours."""
        said = []
        if self.counted:
            said.append(
                "Rows “as the paper counts” take non-members for the positive class, "
                "as its released code does."
            )
        rates = [rate for rate in map(self._rate, rows) if rate is not None]
        if rates:
            stepped = any(row.column is not None for row in rows)
            smld = any(r.process == "smld" and r.printed is not None for r in rates)
            said.append(published.about_rates(str(self.table), stepped, smld))
        elif self.table is not None:
            said.append(f"{self.table} of the paper has none of these steps.")
        return " ".join(said)

    def _rate(self, ours: RateRow) -> published.Rate | None:
        """The paper's row with the same attack, process and step, if it has one."""
        planned = ours.audit.planned
        if self.table is None or planned.discrete_steps not in (None, 1000):
            return None
        if ours.signal != (LIKELIHOOD if ours.column is None else LOSS):
            return None
        return published.RATE_TABLES[self.table].find(planned.process, ours.time)


def _counted(ours: RateRow) -> Extra:
    scores = ours.audit.scores(ours.attack, ours.column)
    rates = paper_compatible(scores, ours.audit.member(ours.attack))["tpr_at_fpr"]
    first = (
        Cell(ours.audit.label, "as the paper counts"),
        Cell(ours.attack),
        dataclasses.replace(ours.step, below=""),
    )
    cells = (*first, *(Cell(share(rates[f"{f:g}"])) for f in FPRS))
    source = "ours, non-members positive"
    lines = [(source, *ours.about, "tpr", rate, v) for rate, v in rates.items()]
    return Extra(Row((*cells, Cell(NONE), Cell(NONE))), tuple(lines))


def _printed(name: str, rate: published.Rate) -> Extra:
    stepped = rate.printed is not None
    data, process = published.RATE_TABLES[name].data, published.PROCESSES[rate.process]
    attack = "loss" if stepped else "likelihood"
    said = f"t{SPACE}={SPACE}{rate.time:g} here" if rate.printed != rate.time else ""
    first = (
        Cell(process, f"published, {data}"),
        Cell(attack),
        Cell(f"{rate.printed:g}" if stepped else NONE, said),
    )
    numbers = [Cell(f"{x:.2f}{SPACE}%") for x in (*rate.tpr, rate.accuracy)]
    row = Row((*first, *numbers[:4], Cell(NONE), numbers[4]), published=True)
    about = (_source(name, data), "", process, attack, "", rate.printed, "")
    lines: list[Sequence[Any]] = [
        (*about, "tpr", f"{fpr:g}", value / 100)
        for fpr, value in zip(FPRS, rate.tpr, strict=True)
    ]
    lines.append((*about, "balanced_accuracy", "", rate.accuracy / 100))
    return Extra(row, tuple(lines))


@dataclasses.dataclass(frozen=True)
class Fids:
    """FIDs of the paper after ours, in a table of quality.

    Attributes:
      table: "Table 1", "Section 6.1", "Section 6.2" or "Section 7": its FIDs of the
        processes that are shown.
    """

    table: str

    def __post_init__(self) -> None:
        one_of("table", self.table, published.FID_TABLES)

    def after(self, audits: Sequence[Audit]) -> Iterator[Extra]:
        """A row for each FID."""
        shown = {audit.planned.process for audit in audits}
        for fid in published.FID_TABLES[self.table].rows:
            if fid.process in shown:
                process = published.PROCESSES[fid.process]
                first = (Cell(process, f"published, {fid.data}"), Cell("Inception"))
                value = Cell(f"{fid.value:.2f}", "FID")
                row = (*first, *[Cell(NONE)] * 3, value, *[Cell(NONE)] * 2)
                rest = ("Inception", "FID", "members", fid.value)
                line = (_source(self.table, fid.data), "", process, *rest)
                yield Extra(Row(row, published=True), (line,))

    def quality_caption(self) -> str:
        """What a reader must know who looks from the paper's FIDs to ours."""
        return published.about_fid(self.table)


def _source(name: str, data: str) -> str:
    return f"published: Hu & Pang 2023, {name} ({data})"
