"""Figures and pictures: curves over the diffusion steps, ROCs, noise, samples.

They are Figs. 1 to 11 of Hu & Pang 2023, of any audits.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from score_mia.check import at_least, one_of, require
from score_mia.files import load_npz
from score_mia.metrics.roc import FPRS
from score_mia.report import draw
from score_mia.report.content import Stepped
from score_mia.report.curves import RocCurve
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import (
    Audit,
    Built,
    Cell,
    Planned,
    Row,
    Steps,
    Strip,
)
from score_mia.report.picture import ASK, unit_pictures
from score_mia.report.table import BY_STEP, ROC, by_step_rows, csv_text, roc_rows
from score_mia.report.text import distinct, level

AXES = {"time": ("time",), "log_snr": ("log_snr",), "both": ("time", "log_snr")}
PANELS = ("audit", "fpr")


@dataclasses.dataclass(frozen=True)
class TprByStep(base.Exhibit):
    """TPR against the diffusion step (Figs. 1, 5, 7a, 8a and 11 of Hu & Pang 2023).

    Attributes:
      attack: one that is measured step by step.
      panels: "audit": a panel for each audit, a curve for each FPR (Fig. 1); "fpr": a
        panel for each FPR, a curve for each audit (Fig. 5).
      axis: "time", each process's own clock; "log_snr", which all processes share; or
        "both" side by side. Noise grows to the right on either.
      fprs: which false-positive rates, of 0.1, 0.01, 0.001 and 0.0001.
    """

    attack: str = "loss"
    panels: str = "audit"
    axis: str = "both"
    fprs: tuple[float, ...] = FPRS

    heading: ClassVar[str] = "Attack at every diffusion step"

    def __post_init__(self) -> None:
        one_of("panels", self.panels, PANELS)
        one_of("axis", self.axis, AXES)
        known = [f"{f:g}" for f in FPRS]
        for fpr in self.fprs:
            one_of("fprs", f"{fpr:g}", known)
        require(len(self.fprs) > 0, "fprs=()", "is empty", "name a rate")

    def check(self, planned: Mapping[str, Planned]) -> None:
        """Refuse, besides, clocks that cannot be laid over each other."""
        super().check(planned)
        clocks = {planned[name].clock for name in self.among(planned)}
        require(
            self.panels != "fpr" or self.axis == "log_snr" or len(clocks) == 1,
            f"panels='fpr', axis={self.axis!r}",
            "would lay different clocks over each other",
            "take axis='log_snr', which all processes share",
        )

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        planned.stepped(self.attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        named = [(a.label, a.stepped(self.attack)) for a in audits]
        rows = [
            (audit.name, label, *row)
            for audit, (label, steps) in zip(audits, named, strict=True)
            for row in by_step_rows(steps)
        ]
        make = draw.by_audit if self.panels == "audit" else draw.by_rate
        seen = [
            f for f in self.fprs if any(s.curves.tpr[f] is not None for _, s in named)
        ]
        peaks = "; ".join(_peak(label, steps, max(self.fprs)) for label, steps in named)
        return Built(
            self._caption(audits),
            csv_text(("audit", "model", *BY_STEP), rows),
            f"True-positive rate of {self.attack} against the diffusion step: {peaks}",
            figure=make(named, seen or self.fprs[:1], AXES[self.axis]),
        )

    def _caption(self, audits: Sequence[Audit]) -> str:
        lines = [
            f"True-positive rate of the attack “{self.attack}” at fixed false-positive "
            "rates, at every step measured. Evaluated on "
            f"{base.sizes(audits, self.attack)}; bands are pointwise 95 % intervals. "
            "Noise grows to the right."
        ]
        lost: dict[int, str] = {}
        for audit in audits:
            tpr = audit.stepped(self.attack).curves.tpr
            names = [level(f) for f in self.fprs if tpr[f] is None]
            if names:
                lost[audit.counts(self.attack)[1]] = ", ".join(names)
        for n, names in lost.items():
            lines.append(f"Below resolution with {n:,} non-members: {names} FPR.")
        return " ".join(lines)


def _peak(label: str, steps: Stepped, fpr: float) -> str:
    """Where the curve at the highest FPR shown is highest, in words."""
    values = steps.curves.tpr[fpr]
    if values is None:
        return f"{label} below resolution"
    k = int(values[0].argmax())
    return (
        f"{label} highest at {steps.names[k]}, log-SNR {steps.log_snr[k]:.1f}, "
        f"{100 * values[0, k]:.1f} % at {level(fpr)} FPR"
    )


@dataclasses.dataclass(frozen=True)
class Roc(base.Exhibit):
    """Log-log ROCs with bands (Figs. 2, 4, 6, 7b, 7c, 8b and 8c of Hu & Pang 2023).

    Attributes:
      attack: which. Without steps its membership score is drawn, all audits in one
        panel (Fig. 4).
      times, log_snr: at which steps, see `Steps`: a panel for each audit (Fig. 2).
    """

    attack: str = "likelihood"
    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()

    heading: ClassVar[str] = "Recognised members against wrong accusations"

    @property
    def steps(self) -> Steps | None:
        """The steps shown, None for the membership score."""
        given = bool(self.times) or bool(self.log_snr)
        return Steps(self.times, self.log_snr) if given else None

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        attack = planned.find(self.attack)
        if self.steps is not None:
            times = planned.stepped(self.attack)
            self.steps.check(name, self.attack, times, attack.chooses)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        panels: dict[str, dict[str, RocCurve]] = {}
        rows: list[Sequence[Any]] = []
        for audit in audits:
            panel = audit.label if self.steps is not None else ""
            for name, column, where in self._curves(audit):
                curve = audit.roc(self.attack, column)
                panels.setdefault(panel, {})[name] = curve
                first = (audit.name, audit.label, self.attack, *where)
                rows += [(*first, *row) for row in roc_rows(curve)]
        return Built(
            f"ROC of the attack “{self.attack}” on logarithmic axes, evaluated on "
            f"{base.sizes(audits, self.attack)}; bands are pointwise 95 % intervals, "
            "and nothing can be measured in the shaded part. The dotted line is "
            "guessing.",
            csv_text(("audit", "model", "attack", "column", "time", *ROC), rows),
            f"ROC curves of {self.attack} for {', '.join(a.label for a in audits)}.",
            figure=draw.rocs(panels),
        )

    def _curves(self, audit: Audit) -> list[tuple[str, int | None, tuple[Any, Any]]]:
        """Name in the legend, column (None for the score), and its name and time."""
        if self.steps is None:
            return [(audit.label, None, ("", ""))]
        steps = audit.stepped(self.attack)
        columns = self.steps.columns(audit.name, self.attack, steps)
        labels = step_labels(steps, columns, bool(self.log_snr))
        return [
            (label, k, (steps.names[k], float(steps.time[k])))
            for label, k in zip(labels, columns, strict=True)
        ]


def step_labels(steps: Stepped, columns: Sequence[int], log_snr: bool) -> list[str]:
    """What a legend calls these columns; two that round to one label keep two."""
    labels = {}
    for k in columns:
        label = f"t = {steps.time_text(steps.time[k])}"
        if log_snr:
            label = f"log-SNR {steps.log_snr[k]:.1f}, {label}"
        labels[steps.names[k]] = label
    return [*distinct(labels).values()]


@dataclasses.dataclass(frozen=True)
class Perturbed(base.Exhibit):
    """Members with the noise of chosen steps (Fig. 3 of Hu & Pang 2023).

    Attributes:
      times, log_snr: which steps, see `Steps`; any that the process has.
      pictures: how many members of each audit.
    """

    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()
    pictures: int = 1

    heading: ClassVar[str] = "What the network sees"

    def __post_init__(self) -> None:
        at_least("pictures", self.pictures, 1)

    @property
    def steps(self) -> Steps:
        """The steps shown."""
        return Steps(self.times, self.log_snr)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        self.steps.require_one()
        planned.times(self.steps, name)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        strips, rows = [], []
        for audit in audits:
            planned = audit.planned
            if not planned.pictures:
                continue
            times = planned.times(self.steps, audit.name)
            noised = planned.noised(audit.folder, times, self.pictures)
            for number, pictures in enumerate(noised.pictures, 1):
                strips.append(
                    Strip(audit.label, unit_pictures(pictures), noised.labels)
                )
                rows += [
                    (audit.name, audit.label, number, t, float(level))
                    for t, level in zip(noised.times, noised.log_snr, strict=True)
                ]
        return _built(
            audits,
            "Members after the noise of the step named with each was added, seen with "
            "the scale of the signal brought back. A picture that people can no longer "
            "recognise may still give its membership away.",
            csv_text(("audit", "model", "picture", "time", "log_snr"), rows),
            "Pictures with growing noise.",
            strips,
        )


@dataclasses.dataclass(frozen=True)
class Samples(base.Exhibit):
    """What the targets generate (Figs. 9 and 10 of Hu & Pang 2023).

    Attributes:
      count: samples of each audit, the first ones it drew; its `report.samples` must
        be as many.
      columns: samples side by side.
    """

    count: int = 16
    columns: int = 8

    heading: ClassVar[str] = "Samples of the targets"

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        at_least("columns", self.columns, 1)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        require(
            planned.samples >= self.count,
            f"audit {name!r}",
            f"draws {planned.samples} samples and {self.count} are to be shown",
            "raise its report.samples, or lower the exhibit's count",
        )

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        strips, rows = [], []
        for audit in audits:
            planned = audit.planned
            if not planned.pictures:
                continue
            path = audit.folder / "target" / "samples.npz"
            kept = load_npz(path, ("images", "target"))
            images = unit_pictures(kept["images"][: self.count])
            for start in range(0, len(images), self.columns):
                name = audit.label if start == 0 else ""
                strips.append(Strip(name, images[start : start + self.columns]))
            made = (planned.sampler, planned.seed, str(kept["target"]))
            rows += [(audit.name, audit.label, i, *made) for i in range(len(images))]
        return _built(
            audits,
            f"The first {self.count:,} samples of each target, none selected.",
            csv_text(_SAMPLES_CSV, rows),
            "Samples of the targets.",
            strips,
        )


_SAMPLES_CSV = ("audit", "model", "sample", "sampler", "seed", "target_digest")


def _built(
    audits: Sequence[Audit], caption: str, csv: str, alt: str, strips: Sequence[Strip]
) -> Built:
    """The pictures of audits that ask for them, and in words who does not."""
    silent = [a.label for a in audits if not a.planned.pictures]
    if silent:
        left_out = (
            f"Pictures of {', '.join(silent)} are left out: real images, and samples, "
            f"which may repeat them, are shown only where an audit's config asks for "
            f"them ({ASK})."
        )
        caption = f"{caption} {left_out}" if strips else left_out
    if not strips:
        rows = tuple(
            Row((Cell(name), Cell("left out", known=False))) for name in silent
        )
        return Built(caption, csv, alt, table=base.Table(("Target", "Pictures"), rows))
    named = [(textwrap.fill(s.name, 13), s.pictures) for s in strips]
    sheet = draw.sheet(named, [s.labels for s in strips if s.labels])
    return Built(caption, csv, alt, figure=sheet, strips=tuple(strips))
