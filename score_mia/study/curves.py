"""The paper's curves: TPR at every step (Figs. 1, 5, 7a, 8a, 11) and ROCs (2, 4, 6)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from score_mia.auditing.plan import Plan
from score_mia.check import one_of, require
from score_mia.metrics.roc import FPRS
from score_mia.report.curves import RocCurve
from score_mia.report.table import BY_STEP, by_step_rows, csv_text
from score_mia.report.text import distinct, level
from score_mia.study import draw
from score_mia.study.clock import Clock, Steps, clock_of, find, time_text
from score_mia.study.exhibit import Built, Exhibit, sizes
from score_mia.study.finished import Finished

AXES = {"time": ("time",), "log_snr": ("log_snr",), "both": ("time", "log_snr")}
PANELS = ("audit", "fpr")


@dataclasses.dataclass(frozen=True)
class TprByStep(Exhibit):
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

    def check(self, plans: Mapping[str, Plan]) -> None:
        super().check(plans)
        clocks = {plans[name].sde for name in self.among(plans)}
        require(
            self.panels != "fpr" or self.axis == "log_snr" or len(clocks) == 1,
            f"panels='fpr', axis={self.axis!r}",
            "would lay different clocks over each other",
            "take axis='log_snr', which all processes share",
        )

    def check_audit(self, name: str, plan: Plan) -> None:
        clock_of(plan, self.attack)

    def build(self, audits: Sequence[Finished]) -> Built:
        attack = self.attack
        named = [(a.label, a.columns(attack), a.by_step(attack)) for a in audits]
        rows = [
            (audit.name, label, *row)
            for audit, (label, columns, curves) in zip(audits, named, strict=True)
            for row in by_step_rows(columns, curves)
        ]
        make = draw.by_audit if self.panels == "audit" else draw.by_rate
        seen = [f for f in self.fprs if any(c.tpr[f] is not None for _, _, c in named)]
        return Built(
            self._caption(audits),
            csv_text(("audit", "model", *BY_STEP), rows),
            f"True-positive rate of {attack} against the diffusion step: "
            + "; ".join(_peak(a, attack, self.fprs) for a in audits),
            figure=make(named, seen or self.fprs[:1], AXES[self.axis]),
        )

    def _caption(self, audits: Sequence[Finished]) -> str:
        said = [
            f"True-positive rate of the attack “{self.attack}” at fixed false-positive "
            f"rates, at every step measured. Evaluated on {sizes(audits, self.attack)};"
            " bands are pointwise 95 % intervals. Noise grows to the right."
        ]
        lost: dict[int, str] = {}
        for audit in audits:
            tpr = audit.by_step(self.attack).tpr
            names = [level(f) for f in self.fprs if tpr[f] is None]
            if names:
                lost[audit.counts(self.attack)[1]] = ", ".join(names)
        for n, names in lost.items():
            said.append(f"Below resolution with {n:,} non-members: {names} FPR.")
        return " ".join(said)


def _peak(audit: Finished, attack: str, fprs: Sequence[float]) -> str:
    """Where the curve at the highest FPR shown is highest, in words."""
    tpr, fpr = audit.by_step(attack).tpr, max(fprs)
    values = tpr[fpr]
    if values is None:
        return f"{audit.label} below resolution"
    k = int(values[0].argmax())
    columns = audit.columns(attack)
    return (
        f"{audit.label} highest at {columns.names[k]}, log-SNR "
        f"{columns.log_snr[k]:.1f}, {100 * values[0, k]:.1f} % at {level(fpr)} FPR"
    )


@dataclasses.dataclass(frozen=True)
class Roc(Exhibit):
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

    def check_audit(self, name: str, plan: Plan) -> None:
        find(plan, self.attack)
        if self.steps is not None:
            self.steps.check(name, plan, self.attack)

    def build(self, audits: Sequence[Finished]) -> Built:
        panels: dict[str, dict[str, RocCurve]] = {}
        rows: list[Sequence[Any]] = []
        for audit in audits:
            panel = audit.label if self.steps is not None else ""
            for name, column in self._curves(audit):
                curve = audit.roc(self.attack, column)
                panels.setdefault(panel, {})[name] = curve
                rows += _points(audit, self.attack, column, curve)
        about = ("audit", "model", "attack", "column", "time")
        numbers = ("fpr", "tpr", "low", "high", "members", "nonmembers")
        return Built(
            f"ROC of the attack “{self.attack}” on logarithmic axes, evaluated on "
            f"{sizes(audits, self.attack)}; bands are pointwise 95 % intervals, and "
            "nothing can be measured in the shaded part. The dotted line is guessing.",
            csv_text((*about, *numbers), rows),
            f"ROC curves of {self.attack} for {', '.join(a.label for a in audits)}.",
            figure=draw.rocs(panels),
        )

    def _curves(self, audit: Finished) -> list[tuple[str, int | None]]:
        """Name in the legend, and column (None for the membership score)."""
        if self.steps is None:
            return [(audit.label, None)]
        clock = audit.clock(self.attack)
        chosen = audit.chosen(self.attack)
        columns = self.steps.columns(audit.name, clock, chosen)
        labels = step_labels(clock, columns, bool(self.log_snr))
        return [*zip(labels, columns, strict=True)]


def step_labels(clock: Clock, columns: Sequence[int], log_snr: bool) -> list[str]:
    """What a legend calls these columns; two that round to one label keep two."""
    labels = {}
    for k in columns:
        label = f"t = {time_text(clock.sde, clock.time[k])}"
        if log_snr:
            label = f"log-SNR {clock.log_snr[k]:.1f}, {label}"
        labels[clock.names[k]] = label
    return [*distinct(labels).values()]


def _points(
    audit: Finished, attack: str, column: int | None, curve: RocCurve
) -> list[Sequence[Any]]:
    about: tuple[Any, ...] = (audit.name, audit.label, attack)
    if column is None:
        about = (*about, "", "")
    else:
        clock = audit.clock(attack)
        about = (*about, clock.names[column], float(clock.time[column]))
    return [
        (*about, *map(float, point), curve.members, curve.nonmembers)
        for point in zip(curve.fpr, curve.tpr, curve.low, curve.high, strict=True)
    ]
