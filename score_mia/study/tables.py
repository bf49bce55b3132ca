"""The paper's tables: quality (1), loss at chosen steps (2, 4, 5), likelihood (3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from score_mia.attacks import Likelihood, Loss
from score_mia.auditing.plan import Plan
from score_mia.metrics.roc import FPRS, paper_compatible
from score_mia.report.table import csv_text, measures
from score_mia.report.text import SPACE, aside, level, share
from score_mia.study.clock import Steps, find, time_text
from score_mia.study.exhibit import (
    Built,
    Cell,
    Exhibit,
    Row,
    Table,
    check_table,
    levels,
    number,
    sizes,
)
from score_mia.study.finished import Finished
from score_mia.study.published import (
    FID_TABLES,
    PROCESSES,
    RATE_TABLES,
    Fid,
    Rate,
    about_fid,
    about_rates,
)

NONE = "\N{EN DASH}"
_OURS = "ours"


@dataclasses.dataclass(frozen=True)
class QualityTable(Exhibit):
    """How good the targets' samples are (Table 1 of Hu & Pang 2023).

    Attributes:
      published: "Table 1", "Section 6.1", "Section 6.2" or "Section 7": its FIDs of the
        processes shown stand below ours.
    """

    published: str | None = None

    heading: ClassVar[str] = "Quality of the targets"

    def __post_init__(self) -> None:
        check_table(self.published, FID_TABLES)

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
        processes = {a.process for a in audits}
        rows += self._published(processes)
        lines = [*_quality_csv(found), *self._published_csv(processes)]
        if self.published:
            caption.append(about_fid(self.published))
        return Built(
            " ".join(caption),
            csv_text(_QUALITY_CSV, lines),
            "Table of the quality of samples.",
            Table(header, tuple(rows)),
        )

    def _fids(self, processes: Collection[str]) -> list[Fid]:
        table = FID_TABLES[self.published].rows if self.published else ()
        return [fid for fid in table if fid.process in processes]

    def _published(self, processes: Collection[str]) -> list[Row]:
        return [
            Row(
                (
                    Cell(PROCESSES[fid.process], f"published, {fid.data}"),
                    Cell("Inception"),
                    *[Cell(NONE)] * 3,
                    Cell(f"{fid.value:.2f}", "FID"),
                    *[Cell(NONE)] * 2,
                ),
                published=True,
            )
            for fid in self._fids(processes)
        ]

    def _published_csv(self, processes: Collection[str]) -> Iterator[Sequence[Any]]:
        for fid in self._fids(processes):
            source = _source(str(self.published), fid.data)
            rest = ("Inception", "FID", "members", fid.value)
            yield (source, "", PROCESSES[fid.process], *rest)


_QUALITY_CSV = (
    *("source", "audit", "model", "encoder", "measure", "between"),
    *("value", "low", "high", "n_first", "n_second", "features", "level"),
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
    """An attack at chosen diffusion steps (Tables 2, 4 and 5 of Hu & Pang 2023).

    Attributes:
      attack: one that is measured step by step.
      times, log_snr: which steps, see `Steps`.
      also: further attacks of the audits, a row each, as in Table 4.
      published: "Table 2", "Table 3" or "Table 4": its row stands below each of ours
        with the same process and step.
      as_published: add a row of ours counted as the paper's code counts: non-members
        positive, and numbers even below the resolution.
    """

    attack: str = "loss"
    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()
    also: tuple[str, ...] = ()
    published: str | None = None
    as_published: bool = False

    heading: ClassVar[str] = "Attack at chosen diffusion steps"

    def __post_init__(self) -> None:
        check_table(self.published, RATE_TABLES)

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

    def _rows(self, audit: Finished) -> Iterator[_Rates]:
        clock = audit.clock(self.attack)
        chosen = audit.chosen(self.attack)
        for column in self.steps.columns(audit.name, clock, chosen):
            yield _Rates(audit, self.attack, column)
        for attack in self.also:
            yield _Rates(audit, attack)


@dataclasses.dataclass(frozen=True)
class LikelihoodTable(Exhibit):
    """An attack with one number per image (Table 3 of Hu & Pang 2023).

    Attributes:
      attack: its name; its numbers are those of metrics.json.
      published, as_published: see `LossTable`.
    """

    attack: str = "likelihood"
    published: str | None = None
    as_published: bool = False

    heading: ClassVar[str] = "Likelihood attack"

    def __post_init__(self) -> None:
        check_table(self.published, RATE_TABLES)

    def check_audit(self, name: str, plan: Plan) -> None:
        find(plan, self.attack)

    def build(self, audits: Sequence[Finished]) -> Built:
        return _build_rates(audits, [_Rates(a, self.attack) for a in audits], self)


@dataclasses.dataclass(frozen=True, eq=False)
class _Rates:
    """What one row is about: an attack as a whole, or one of its columns."""

    audit: Finished
    attack: str
    column: int | None = None

    @property
    def time(self) -> float | None:
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
            return Cell(NONE, found.rule.chosen if several else "")
        clock = self.audit.clock(self.attack)
        said = f"log-SNR {clock.log_snr[self.column]:.1f}"
        if self.audit.chosen(self.attack) == clock.names[self.column]:
            said += ", used by the attack"
        return Cell(time_text(self.audit.plan.sde, time), said)


def _build_rates(
    audits: Sequence[Finished],
    rows: Sequence[_Rates],
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
    smld = False
    for row in rows:
        entry = row.audit.entry(row.attack, row.column)
        shown.append(_row(row, entry))
        lines += _csv(row, entry)
        if exhibit.as_published:
            flipped = paper_compatible(
                row.audit.scores(row.attack, row.column), row.audit.member(row.attack)
            )
            shown.append(_flipped_row(row, flipped))
            lines += _flipped_csv(row, flipped)
        rate = _published(exhibit.published, row)
        if rate is not None:
            smld |= rate.process == "smld" and rate.printed is not None
            shown.append(_published_row(str(exhibit.published), rate))
            lines += _published_csv(str(exhibit.published), rate)
    return Built(
        _caption(audits, exhibit, rows, smld),
        csv_text(_CSV, lines),
        "Table of attacks.",
        Table(header, tuple(shown if stepped else map(_without_step, shown))),
    )


def _without_step(row: Row) -> Row:
    """The row without the column of steps."""
    return dataclasses.replace(row, cells=row.cells[:2] + row.cells[3:])


def _caption(
    audits: Sequence[Finished],
    exhibit: LossTable | LikelihoodTable,
    rows: Sequence[_Rates],
    smld: bool,
) -> str:
    said = [
        f"Evaluated on {sizes(audits, exhibit.attack)}; in brackets {levels(audits)} "
        "intervals; members are the positive class. “Below resolution”: too few "
        "non-members to show the rate."
    ]
    stepped = any(r.column is not None for r in rows)
    if stepped:
        said.append(
            "t is on the own clock of each process, where noise grows with t. No step "
            "was chosen on the images reported here."
        )
    if exhibit.as_published:
        said.append(
            "Rows “as the paper counts” take non-members for the positive class, as "
            "its released code does."
        )
    if exhibit.published and any(_published(exhibit.published, r) for r in rows):
        said.append(about_rates(exhibit.published, stepped, smld))
    elif exhibit.published:
        said.append(f"{exhibit.published} of the paper has none of these steps.")
    return " ".join(said)


def _row(row: _Rates, entry: Mapping[str, Any]) -> Row:
    n = entry["n_nonmembers"]
    rates = [number(entry["tpr_at_fpr"][f"{f:g}"], n) for f in FPRS]
    zero = number(entry["tpr_at_zero_fp"], n)
    upper = aside(entry["tpr_at_zero_fp"])
    zero = dataclasses.replace(zero, below=f"{zero.below}, {upper}" if upper else "")
    first = (Cell(row.audit.label), Cell(row.attack), row.step)
    return Row((*first, *rates, zero, number(entry["balanced_accuracy"], n)))


def _flipped_row(row: _Rates, found: Mapping[str, Any]) -> Row:
    rates = [Cell(share(found["tpr_at_fpr"][f"{f:g}"])) for f in FPRS]
    first = (
        Cell(row.audit.label, "as the paper counts"),
        Cell(row.attack),
        dataclasses.replace(row.step, below=""),
    )
    return Row((*first, *rates, Cell(NONE), Cell(NONE)))


def _published(name: str | None, row: _Rates) -> Rate | None:
    """The paper's row with the same attack, process and step, if it has one."""
    plan = row.audit.plan
    if name is None or plan.sde.discrete_steps not in (None, 1000):
        return None
    same = Likelihood if row.column is None else Loss
    if not isinstance(find(plan, row.attack).signal, same):
        return None
    return RATE_TABLES[name].find(row.audit.process, row.time)


def _published_row(name: str, rate: Rate) -> Row:
    printed = NONE if rate.printed is None else f"{rate.printed:g}"
    reversed_ = rate.printed is not None and rate.printed != rate.time
    said = f"t{SPACE}={SPACE}{rate.time:g} here" if reversed_ else ""
    first = (
        Cell(PROCESSES[rate.process], f"published, {RATE_TABLES[name].data}"),
        Cell("loss" if rate.printed is not None else "likelihood"),
        Cell(printed, said),
    )
    numbers = [Cell(f"{x:.2f}{SPACE}%") for x in (*rate.tpr, rate.accuracy)]
    return Row((*first, *numbers[:4], Cell(NONE), numbers[4]), published=True)


_CSV = (
    *("source", "audit", "model", "attack", "column", "time", "log_snr", "measure"),
    *("fpr", "value", "low", "high", "resolvable", "members", "nonmembers", "level"),
)


def _about(row: _Rates) -> tuple[Any, ...]:
    about = (row.audit.name, row.audit.label, row.attack)
    if row.column is None:
        return (*about, "", "", "")
    clock = row.audit.clock(row.attack)
    k = row.column
    return (*about, clock.names[k], float(clock.time[k]), float(clock.log_snr[k]))


def _csv(row: _Rates, entry: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    held = (entry["n_members"], entry["n_nonmembers"], entry["level"])
    about = _about(row)
    for measure, rate, e in measures(entry):
        numbers = (e["value"], e["low"], e["high"], e.get("resolvable", True))
        yield (_OURS, *about, measure, rate, *numbers, *held)


def _flipped_csv(row: _Rates, found: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    for rate, value in found["tpr_at_fpr"].items():
        source = "ours, non-members positive"
        yield (source, *_about(row), "tpr", rate, value)


def _published_csv(name: str, rate: Rate) -> Iterator[Sequence[Any]]:
    stepped = rate.printed is not None
    about = (
        *(_source(name, RATE_TABLES[name].data), "", PROCESSES[rate.process]),
        *("loss" if stepped else "likelihood", "", rate.printed, ""),
    )
    for fpr, value in zip(FPRS, rate.tpr, strict=True):
        yield (*about, "tpr", f"{fpr:g}", value / 100)
    yield (*about, "balanced_accuracy", "", rate.accuracy / 100)


def _source(name: str, data: str) -> str:
    return f"published: Hu & Pang 2023, {name} ({data})"
