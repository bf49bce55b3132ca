"""Tables: the quality of samples, an attack at chosen steps, an attack as a whole.

Beside our numbers a table may hold others', such as those that a paper printed: its
field `beside` names what gives them, in the paper's own package.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from score_mia.attacks.protocol import AnySignal
from score_mia.auditing.plan import Plan
from score_mia.check import require
from score_mia.metrics.roc import FPRS
from score_mia.registry import make
from score_mia.report.table import csv_text, measures
from score_mia.report.text import SPACE, aside, level
from score_mia.study.clock import Steps, find, time_text
from score_mia.study.exhibit import (
    Built,
    Cell,
    Exhibit,
    Row,
    Table,
    levels,
    number,
    sizes,
)
from score_mia.study.finished import Finished

NONE = "\N{EN DASH}"
"""In a cell that has no number."""
_OURS = "ours"
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

    audit: Finished
    attack: str
    column: int | None = None

    @property
    def signal(self) -> AnySignal:
        """What the attack reads off the target."""
        return next(iter(find(self.audit.plan, self.attack).signals.values()))

    @property
    def time(self) -> float | None:
        """The column's, on the own clock of the process."""
        if self.column is None:
            return None
        return float(self.audit.clock(self.attack).time[self.column])

    @property
    def step(self) -> Cell:
        """The step in words, with what makes it comparable."""
        time = self.time
        if self.column is None or time is None:
            found = self.audit.assessment(self.attack)
            several = len(found.signals.names) > 1
            return Cell(NONE, found.scorer.about if several else "")
        clock = self.audit.clock(self.attack)
        said = f"log-SNR {clock.log_snr[self.column]:.1f}"
        if self.audit.chosen(self.attack) == clock.names[self.column]:
            said += ", used by the attack"
        return Cell(time_text(self.audit.plan.sde, time), said)

    @property
    def about(self) -> tuple[Any, ...]:
        """The csv's columns from "audit" to "log_snr"."""
        about = (self.audit.name, self.audit.label, self.attack)
        if self.column is None:
            return (*about, "", "", "")
        clock, k = self.audit.clock(self.attack), self.column
        return (*about, clock.names[k], float(clock.time[k]), float(clock.log_snr[k]))


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

    def after(self, audits: Sequence[Finished]) -> Iterable[Extra]:
        """The rows after ours: cells as in our own, csv lines as `QUALITY_CSV`."""
        ...

    def quality_caption(self) -> str:
        """What must be said of them."""
        ...


def _beside(spec: Mapping[str, Any] | None, kind: Any) -> Any:
    """What a table's `beside` names; None for nothing."""
    if spec is None:
        return None
    part = make("beside", {}, spec)
    require(
        isinstance(part, kind),
        f"beside {spec['name']!r}",
        "gives no rows to such a table",
        f"let it be a score_mia.study.tables.{kind.__name__}",
    )
    return part


@dataclasses.dataclass(frozen=True)
class QualityTable(Exhibit):
    """How good the targets' samples are.

    Attributes:
      beside: what gives further rows, by "module:Name" (`BesideQuality`).
    """

    beside: Mapping[str, Any] | None = None

    heading: ClassVar[str] = "Quality of the targets"

    def __post_init__(self) -> None:
        _beside(self.beside, BesideQuality)

    def check_audit(self, name: str, plan: Plan) -> None:
        """Every audit can be shown, if only as not measured."""

    def build(self, audits: Sequence[Finished]) -> Built:
        found = [(a, a.metrics["target"].get("quality")) for a in audits]
        frechet = frechet_heading(audits)
        header = (
            *("Target", "Encoder"),
            *("KID to members", "KID to non-members", "KID, members to non-members"),
            *(f"{frechet} to members", f"{frechet} to non-members"),
            f"{frechet}, members to non-members",
        )
        rows = [_quality_row(a, q) for a, q in found]
        caption = [
            "Distance of the samples from images of either group, and of members from "
            f"non-members, which perfect samples would reach. {levels(audits)} "
            "intervals where there are any; n is how many samples and images."
            + ("" if frechet == "FID" else f" {frechet}: a Fréchet distance, no FID.")
        ]
        if any(q is None for _, q in found):
            caption.append("Not measured: there is no “quality” in the config.")
        lines = [*_quality_csv(found)]
        others = _beside(self.beside, BesideQuality)
        if others is not None:
            for extra in others.after(audits):
                rows.append(extra.row)
                lines += extra.csv
            caption.append(others.quality_caption())
        return Built(
            " ".join(caption),
            csv_text(QUALITY_CSV, lines),
            "Table of the quality of samples.",
            Table(header, tuple(rows)),
        )


_PAIRS = ("members", "nonmembers", "members_to_nonmembers")


def _quality_row(audit: Finished, quality: Mapping[str, Any] | None) -> Row:
    target = audit.metrics["target"]
    about = f"{target['members']:,} training images, {target['steps']:,} steps"
    if quality is None:
        cells = [Cell("not measured", known=False), *[Cell(NONE, known=False)] * 6]
        return Row((Cell(audit.label, about), *cells))
    distances = [quality[pair][kind] for kind in ("kid", "frechet") for pair in _PAIRS]
    return Row(
        (
            Cell(audit.label, about),
            Cell(quality["encoder"], f"{quality['features']:,} features"),
            *map(distance, distances),
        )
    )


def frechet_heading(audits: Sequence[Finished]) -> str:
    """ "FID" if the encoder of FID measured them all, else "FD"."""
    found = [a.metrics["target"].get("quality") for a in audits]
    names = {q["frechet_name"] for q in found if q}
    return "FID" if names == {"FID"} else "FD"


def distance(entry: Mapping[str, Any]) -> Cell:
    """A distance between two sets of images, with its interval or its n."""
    first, second = entry["n"]
    if entry["low"] is None:
        return Cell(
            f"{entry['value']:.4g}", f"n{SPACE}={SPACE}{first:,},{SPACE}{second:,}"
        )
    interval = f"[{entry['low']:.3g},{SPACE}{entry['high']:.3g}]"
    return Cell(f"{entry['value']:.4g}", interval)


def _quality_csv(
    found: Sequence[tuple[Finished, Mapping[str, Any] | None]],
) -> Iterator[Sequence[Any]]:
    for audit, quality in found:
        about = (_OURS, audit.name, audit.label)
        if quality is None:
            yield (*about, "", "not measured")
            continue
        for kind, name in (("kid", "KID"), ("frechet", quality["frechet_name"])):
            for pair in _PAIRS:
                e = quality[pair][kind]
                numbers = (e["value"], e["low"], e["high"], *e["n"], e["features"])
                told = (*about, quality["encoder"], name, pair)
                yield (*told, *numbers, quality["level"])


@dataclasses.dataclass(frozen=True)
class LossTable(Exhibit):
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
        _beside(self.beside, BesideRates)

    @property
    def steps(self) -> Steps:
        """The steps shown."""
        return Steps(self.times, self.log_snr)

    def check_audit(self, name: str, plan: Plan) -> None:
        self.steps.check(name, plan, self.attack)
        for attack in self.also:
            find(plan, attack)

    def build(self, audits: Sequence[Finished]) -> Built:
        return _build_rates(audits, [r for a in audits for r in self._rows(a)], self)

    def _rows(self, audit: Finished) -> Iterator[RateRow]:
        clock = audit.clock(self.attack)
        chosen = audit.chosen(self.attack)
        for column in self.steps.columns(audit.name, clock, chosen):
            yield RateRow(audit, self.attack, column)
        for attack in self.also:
            yield RateRow(audit, attack)


@dataclasses.dataclass(frozen=True)
class LikelihoodTable(Exhibit):
    """An attack with one number per image.

    Attributes:
      attack: its name; its numbers are those of metrics.json.
      beside: see `LossTable`.
    """

    attack: str = "likelihood"
    beside: Mapping[str, Any] | None = None

    heading: ClassVar[str] = "Likelihood attack"

    def __post_init__(self) -> None:
        _beside(self.beside, BesideRates)

    def check_audit(self, name: str, plan: Plan) -> None:
        find(plan, self.attack)

    def build(self, audits: Sequence[Finished]) -> Built:
        return _build_rates(audits, [RateRow(a, self.attack) for a in audits], self)


def _build_rates(
    audits: Sequence[Finished],
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
    others = _beside(exhibit.beside, BesideRates)
    for row in rows:
        entry = row.audit.entry(row.attack, row.column)
        shown.append(_row(row, entry))
        lines += _csv(row, entry)
        for extra in others.below(row) if others is not None else ():
            shown.append(extra.row)
            lines += extra.csv
    caption = _caption(audits, exhibit, stepped)
    if others is not None:
        caption = f"{caption} {others.caption(rows)}"
    return Built(
        caption,
        csv_text(RATE_CSV, lines),
        "Table of attacks.",
        Table(header, tuple(shown if stepped else map(_without_step, shown))),
    )


def _without_step(row: Row) -> Row:
    """The row without the column of steps."""
    return dataclasses.replace(row, cells=row.cells[:2] + row.cells[3:])


def _caption(
    audits: Sequence[Finished],
    exhibit: LossTable | LikelihoodTable,
    stepped: bool,
) -> str:
    said = [
        f"Evaluated on {sizes(audits, exhibit.attack)}; in brackets {levels(audits)} "
        "intervals; members are the positive class. “Below resolution”: too few "
        "non-members to show the rate."
    ]
    if stepped:
        said.append(
            "t is on the own clock of each process, where noise grows with t. No step "
            "was chosen on the images reported here."
        )
    return " ".join(said)


def _row(row: RateRow, entry: Mapping[str, Any]) -> Row:
    n = entry["n_nonmembers"]
    rates = [number(entry["tpr_at_fpr"][f"{f:g}"], n) for f in FPRS]
    zero = number(entry["tpr_at_zero_fp"], n)
    upper = aside(entry["tpr_at_zero_fp"])
    zero = dataclasses.replace(zero, below=f"{zero.below}, {upper}" if upper else "")
    first = (Cell(row.audit.label), Cell(row.attack), row.step)
    return Row((*first, *rates, zero, number(entry["balanced_accuracy"], n)))


def _csv(row: RateRow, entry: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    held = (entry["n_members"], entry["n_nonmembers"], entry["level"])
    about = row.about
    for measure, rate, e in measures(entry):
        numbers = (e["value"], e["low"], e["high"], e.get("resolvable", True))
        yield (_OURS, *about, measure, rate, *numbers, *held)
