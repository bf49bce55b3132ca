"""Tables: the quality of samples, an attack at chosen steps, an attack as a whole.

Beside our numbers a table may hold others', such as those that a paper printed: its
field `beside` names what gives them, in the paper's own package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from score_mia.check import require
from score_mia.metrics.roc import FPRS
from score_mia.registry import make
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row, Steps
from score_mia.report.table import csv_text, measures
from score_mia.report.text import SPACE, aside, level, numbers
from score_mia.results import AttackResult, Distances, Quality

OURS = "ours"
"""Source of our own numbers in a csv."""
QUALITY_CSV = (
    *("source", "audit", "model", "encoder", "measure", "between"),
    *("value", "low", "high", "n_first", "n_second", "features", "level"),
)
"""Columns of the csv of a table of quality."""
RATE_CSV = (
    *("source", "audit", "model", "attack", "column", "time", "log_snr", "measure"),
    *("fpr", "value", "low", "high", "resolvable", "members", "nonmembers", "level"),
)
"""Columns of the csv of a table of attacks."""


@dataclasses.dataclass(frozen=True, eq=False)
class RateRow:
    """What a row of ours is about: an attack as a whole, or one of its columns."""

    audit: Audit
    attack: str
    column: int | None = None

    @property
    def signal(self) -> str:
        """Full name of the class of what the attack reads off the target."""
        return self.audit.planned.find(self.attack).signal

    @property
    def time(self) -> float | None:
        """The column's, on the own clock of the process."""
        if self.column is None:
            return None
        return float(self.audit.stepped(self.attack).time[self.column])

    @property
    def step(self) -> Cell:
        """The step in words, with what makes it comparable."""
        if self.column is None:
            several = len(self.audit.planned.find(self.attack).columns) > 1
            return Cell(
                base.NONE, self.audit.entry(self.attack).chosen if several else ""
            )
        steps = self.audit.stepped(self.attack)
        small = f"log-SNR {steps.log_snr[self.column]:.1f}"
        if steps.chosen == self.column:
            small += ", used by the attack"
        return Cell(steps.time_text(steps.time[self.column]), small)

    @property
    def about(self) -> tuple[Any, ...]:
        """The csv's columns from "audit" to "log_snr"."""
        first = (self.audit.name, self.audit.label, self.attack)
        if self.column is None:
            return (*first, "", "", "")
        steps, k = self.audit.stepped(self.attack), self.column
        return (*first, steps.names[k], float(steps.time[k]), float(steps.log_snr[k]))


class Extra(NamedTuple):
    """A row beside ours, and its lines of the csv."""

    row: Row
    csv: tuple[Sequence[Any], ...]


@runtime_checkable
class BesideRates(Protocol):
    """Gives further rows to a table of attacks."""

    def below(self, ours: RateRow) -> Iterable[Extra]:
        """The rows below one of ours: cells as in our own, csv lines as `RATE_CSV`."""
        ...

    def caption(self, rows: Sequence[RateRow]) -> str:
        """What must be said of them, where these rows of ours are shown."""
        ...


@runtime_checkable
class BesideQuality(Protocol):
    """Gives further rows to a table of quality."""

    def after(self, audits: Sequence[Audit]) -> Iterable[Extra]:
        """The rows after ours: cells as in our own, csv lines as `QUALITY_CSV`."""
        ...

    def quality_caption(self) -> str:
        """What must be said of them."""
        ...


def given_beside(spec: Mapping[str, Any] | None, kind: Any) -> Any:
    """What a table's `beside` names; None for nothing."""
    if spec is None:
        return None
    part = make("beside", {}, spec)
    require(
        isinstance(part, kind),
        f"beside {spec['name']!r}",
        "gives no rows to such a table",
        f"let it be a {kind.__module__}.{kind.__name__}",
    )
    return part


@dataclasses.dataclass(frozen=True)
class QualityTable(base.Exhibit):
    """How good the targets' samples are.

    Attributes:
      beside: what gives further rows, by "module:Name" (`BesideQuality`).
    """

    beside: Mapping[str, Any] | None = None

    heading: ClassVar[str] = "Quality of the targets"

    def __post_init__(self) -> None:
        given_beside(self.beside, BesideQuality)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Every audit can be shown, if only as not measured."""

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        measured = [(a, a.result.target.quality) for a in audits]
        frechet = base.frechet_heading(audits)
        header = (
            *("Target", "Encoder"),
            *("KID to members", "KID to non-members", "KID, members to non-members"),
            *(f"{frechet} to members", f"{frechet} to non-members"),
            f"{frechet}, members to non-members",
        )
        rows = [_quality_row(a, q) for a, q in measured]
        lines = [line for a, q in measured for line in _quality_csv(a, q)]
        caption = [
            "Distance of the samples from images of either group, and of members from "
            f"non-members, which perfect samples would reach. {base.levels(audits)} "
            "intervals where there are any; n is how many samples and images."
            + ("" if frechet == "FID" else f" {frechet}: a Fréchet distance, no FID.")
        ]
        if any(q is None for _, q in measured):
            caption.append("Not measured: there is no “quality” in the config.")
        others = given_beside(self.beside, BesideQuality)
        if others is not None:
            for extra in others.after(audits):
                rows.append(extra.row)
                lines += extra.csv
            caption.append(others.quality_caption())
        return Built(
            " ".join(caption),
            csv_text(QUALITY_CSV, lines),
            "Table of the quality of samples.",
            base.Table(header, tuple(rows)),
        )


def _quality_row(audit: Audit, quality: Quality | None) -> Row:
    target = audit.result.target
    small = f"{target.members:,} training images, {target.steps:,} steps"
    if quality is None:
        cells = [Cell("not measured", known=False), *[Cell(base.NONE, known=False)] * 6]
        return Row((Cell(audit.label, small), *cells))
    pairs = _pairs(quality).values()
    distances = [*(p.kid for p in pairs), *(p.frechet for p in pairs)]
    encoder = Cell(quality.encoder, f"{quality.features:,} features")
    return Row((Cell(audit.label, small), encoder, *map(base.distance, distances)))


def _pairs(q: Quality) -> dict[str, Distances]:
    return {
        "members": q.members,
        "nonmembers": q.nonmembers,
        "members_to_nonmembers": q.members_to_nonmembers,
    }


def _quality_csv(audit: Audit, q: Quality | None) -> Iterator[Sequence[Any]]:
    first = (OURS, audit.name, audit.label)
    if q is None:
        yield (*first, "", "not measured")
        return
    for name in ("KID", q.frechet_name):
        for pair, distances in _pairs(q).items():
            d = distances.kid if name == "KID" else distances.frechet
            numbers = (d.value, d.low, d.high, *d.n, d.features, q.level)
            yield (*first, q.encoder, name, pair, *numbers)


@dataclasses.dataclass(frozen=True)
class LossTable(base.Exhibit):
    """An attack at chosen diffusion steps.

    Attributes:
      attack: one that is measured step by step.
      times, log_snr: which steps, see `Steps`.
      also: further attacks of the audits, a row each.
      beside: what gives further rows, by "module:Name" (`BesideRates`).
    """

    attack: str = "loss"
    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()
    also: tuple[str, ...] = ()
    beside: Mapping[str, Any] | None = None

    heading: ClassVar[str] = "Attack at chosen diffusion steps"

    def __post_init__(self) -> None:
        given_beside(self.beside, BesideRates)

    @property
    def steps(self) -> Steps:
        """The steps shown."""
        return Steps(self.times, self.log_snr)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        times = planned.stepped(self.attack)
        chooses = planned.find(self.attack).chooses
        self.steps.check(name, self.attack, times, chooses)
        for attack in self.also:
            planned.find(attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        return _build_rates(audits, [r for a in audits for r in self._rows(a)], self)

    def _rows(self, audit: Audit) -> Iterator[RateRow]:
        steps = audit.stepped(self.attack)
        for column in self.steps.columns(audit.name, self.attack, steps):
            yield RateRow(audit, self.attack, column)
        for attack in self.also:
            yield RateRow(audit, attack)


@dataclasses.dataclass(frozen=True)
class LikelihoodTable(base.Exhibit):
    """An attack with one number per image.

    Attributes:
      attack: its name; its numbers are those of metrics.json.
      beside: see `LossTable`.
    """

    attack: str = "likelihood"
    beside: Mapping[str, Any] | None = None

    heading: ClassVar[str] = "Likelihood attack"

    def __post_init__(self) -> None:
        given_beside(self.beside, BesideRates)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        planned.find(self.attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        return _build_rates(audits, [RateRow(a, self.attack) for a in audits], self)


def _build_rates(
    audits: Sequence[Audit],
    rows: Sequence[RateRow],
    exhibit: LossTable | LikelihoodTable,
) -> Built:
    stepped = any(row.column is not None for row in rows)
    header = (
        *(("Target", "Attack", "t") if stepped else ("Target", "Attack")),
        *(f"TPR at {level(f)}{SPACE}FPR" for f in FPRS),
        *(f"TPR at zero{SPACE}FP", "Balanced accuracy"),
    )
    shown: list[Row] = []
    lines: list[Sequence[Any]] = []
    others = given_beside(exhibit.beside, BesideRates)
    for row in rows:
        entry = row.audit.entry(row.attack, row.column)
        shown.append(_row(row, entry))
        counts = (entry.members, entry.nonmembers, entry.level)
        lines += [
            (OURS, *row.about, measure, rate, *numbers(e), *counts)
            for measure, rate, e in measures(entry)
        ]
        for extra in others.below(row) if others is not None else ():
            shown.append(extra.row)
            lines += extra.csv
    if not stepped:
        shown = [Row(r.cells[:2] + r.cells[3:], r.published) for r in shown]
    caption = (
        f"Evaluated on {base.sizes(audits, exhibit.attack)}; in brackets "
        f"{base.levels(audits)} intervals; members are the positive class. “Below "
        "resolution”: too few non-members to show the rate."
    )
    if stepped:
        caption += (
            " t is on the own clock of each process, where noise grows with t. No step "
            "was chosen on the images reported here."
        )
    if others is not None:
        caption += f" {others.caption(rows)}"
    table = base.Table(header, tuple(shown))
    return Built(caption, csv_text(RATE_CSV, lines), "Table of attacks.", table)


def _row(row: RateRow, entry: AttackResult) -> Row:
    n, upper = entry.nonmembers, aside(entry.tpr_at_zero_fp)
    zero = base.number(entry.tpr_at_zero_fp, n)
    zero = dataclasses.replace(zero, below=f"{zero.below}, {upper}" if upper else "")
    rates = [base.number(entry.tpr_at_fpr[f], n) for f in FPRS]
    first = (Cell(row.audit.label), Cell(row.attack), row.step)
    return Row((*first, *rates, zero, base.number(entry.balanced_accuracy, n)))
