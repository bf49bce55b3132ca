"""What privacy costs: epsilon against quality against what an attack still finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from score_mia.check import one_of
from score_mia.metrics.roc import FPRS
from score_mia.report import draw, privacy
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.style import PAPER, figure, percent, styled
from score_mia.report.table import csv_text
from score_mia.report.text import SPACE, level, share
from score_mia.results import Distance, Estimate, Privacy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUALITIES = ("kid", "frechet")
GROUPS = {"members": "members", "nonmembers": "non-members"}


@dataclasses.dataclass(frozen=True)
class Frontier(base.Exhibit):
    """Epsilon, quality and TPR of several targets, controls marked.

    Attributes:
      attack: whose TPR.
      fpr: at which false-positive rate: 0.1, 0.01, 0.001 or 0.0001.
      quality: "kid" or "frechet".
      to: samples are held against "nonmembers", or against "members", to which a
        target that repeats its training set comes close without being good.
    """

    attack: str = "loss"
    fpr: float = 0.01
    quality: str = "kid"
    to: str = "nonmembers"

    heading: ClassVar[str] = "What privacy costs"

    def __post_init__(self) -> None:
        one_of("fpr", f"{self.fpr:g}", [f"{f:g}" for f in FPRS])
        one_of("quality", self.quality, QUALITIES)
        one_of("to", self.to, GROUPS)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        planned.find(self.attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        points = [self._point(a) for a in audits]
        measure = "KID" if self.quality == "kid" else base.frechet_heading(audits)
        distances = f"{measure} to {GROUPS[self.to]}"
        rate = f"TPR at {level(self.fpr)}{SPACE}FPR"
        header = (
            *("Target", "Training", "ε", "δ"),
            *(distances, rate, "Most that ε allows", "AUC"),
        )
        return Built(
            "The accounted ε of each target, the quality of its samples, and what the "
            f"attack “{self.attack}” recognises. Evaluated on "
            f"{base.sizes(audits, self.attack)}; {base.levels(audits)} intervals. A "
            "bar is the most that ε leaves to any attack. Controls do one half of "
            "DP-SGD and guarantee nothing; a smaller distance is better. "
            + "; ".join(f"{i} {a.label}" for i, a in enumerate(audits, 1))
            + ".",
            csv_text(_CSV, map(self._csv, points)),
            f"{distances} and {rate} against ε.",
            table=base.Table(header, tuple(map(_row, points))),
            figure=drawn(points, distances, f"{self.attack}: {rate}"),
        )

    def _point(self, audit: Audit) -> Point:
        target, entry = audit.result.target, audit.entry(self.attack)
        private, quality = target.privacy, target.quality
        most = privacy.ceiling(private, np.array([self.fpr]))
        return Point(
            audit,
            "none" if private is None else private.control or "private",
            private,
            None if quality is None else quality.to(self.to, self.quality),
            entry.tpr_at_fpr[self.fpr],
            entry.auc,
            audit.counts(self.attack),
            None if most is None else float(most[0]),
        )

    def _csv(self, point: Point) -> Sequence[Any]:
        p, audit, quality = point.private, point.audit, point.quality
        private = (p.epsilon_rdp, p.delta, p.adjacency) if p else [None] * 3
        limits = (quality.value, quality.low, quality.high) if quality else [None] * 3
        return (
            *(audit.name, audit.label, point.kind, point.epsilon, *private),
            *(self.quality, self.to, *limits, self.attack, self.fpr),
            *(point.tpr.value, point.tpr.low, point.tpr.high, point.ceiling),
            *(point.auc.value, point.auc.low, point.auc.high, *point.counts),
            audit.result.level,
        )


_CSV = (
    *("audit", "model", "training", "epsilon", "epsilon_rdp", "delta", "adjacency"),
    *("quality", "to", "quality_value", "quality_low", "quality_high"),
    *("attack", "fpr", "tpr", "tpr_low", "tpr_high", "tpr_ceiling"),
    *("auc", "auc_low", "auc_high", "members", "nonmembers", "level"),
)


def _row(point: Point) -> Row:
    """A target as a line of the table."""
    p, none, small = point.private, Cell(base.NONE), ""
    if p is not None:
        noise = f"noise {p.noise_multiplier:.3g}, clip {p.clip:g}"
        small = f"{noise}, {p.adjacency.replace('_', ' ')}"
    quality, n = point.quality, point.counts[1]
    return Row(
        (
            Cell(point.audit.label),
            Cell(KINDS[point.kind][0], small),
            Cell(f"{point.epsilon:.4g}") if point.epsilon else none,
            Cell(f"{p.delta:g}") if p and point.epsilon else none,
            base.distance(quality) if quality else Cell("not measured", known=False),
            base.number(point.tpr, n),
            none if point.ceiling is None else Cell(share(point.ceiling)),
            base.number(point.auc, n, percent=False),
        )
    )


KINDS = {
    "private": ("DP-SGD", "o", "blue"),
    "none": ("no privacy", "s", "ink"),
    "clip_only": ("clip only (control)", "^", "orange"),
    "noise_only": ("noise only (control)", "v", "orange"),
}
"""How a target was trained -> its name, marker and colour role."""


class Point(NamedTuple):
    """A target on the frontier.

    Attributes:
      audit: its audit.
      kind: how it was trained, of `KINDS`.
      private: what is known of its private training.
      quality: a distance of its samples.
      tpr, auc: of the attack.
      counts: members and non-members that the attack was judged on.
      ceiling: largest TPR that its guarantee leaves to any attack.
    """

    audit: Audit
    kind: str
    private: Privacy | None
    quality: Distance | None
    tpr: Estimate
    auc: Estimate
    counts: tuple[int, int]
    ceiling: float | None

    @property
    def epsilon(self) -> float | None:
        """Accounted; None for a target without guarantee."""
        return self.private.epsilon_pld if self.private else None

    @property
    def across(self) -> Interval | None:
        """The distance and its interval, None if not measured."""
        d = self.quality
        if d is None:
            return None
        low, high = (d.value if v is None else v for v in (d.low, d.high))
        return d.value, low, high


Interval = tuple[float, float, float]
"""Value, low and high end."""


def drawn(points: Sequence[Point], quality: str, tpr: str) -> Figure:
    """Quality and TPR against epsilon, and TPR against quality, points numbered.

    Args:
      points: the targets.
      quality, tpr: labels of the axes.
    """
    places, ticks = _places(points)
    with styled():
        fig, ((left, middle, right),) = figure(11.4, 4.0, 1, 3)
        for i, (point, place) in enumerate(zip(points, places, strict=True), 1):
            here = (place, place, place)
            seen = point.tpr.interval if point.tpr.known else None
            _mark(left, point, i, here, point.across)
            _mark(middle, point, i, here, seen)
            _mark(right, point, i, point.across, seen)
            if point.ceiling is not None:
                reach = [place - 0.05, place + 0.05]
                look = {"color": PAPER["ink"], "lw": 1.6}
                middle.plot(reach, [point.ceiling] * 2, label="most ε allows", **look)
        for axes in (left, middle):
            axes.set_xticks([*ticks], [*ticks.values()])
            axes.set(xlabel="ε", xlim=(min(ticks) - 0.35, max(ticks) + 0.35))
        left.set(ylabel=quality)
        right.set(xlabel=quality)
        for axes in (middle, right):
            axes.set(ylabel=tpr, ylim=(-0.03, 1.03))
            percent(axes.yaxis, log=False)
        for axes in (left, middle, right):
            axes.grid(True, axis="y")
        draw.legend(fig, (left, middle, right))
        return fig


def _places(points: Sequence[Point]) -> tuple[list[float], dict[float, str]]:
    """Where each point stands on the axis of epsilon (a log axis), and its ticks.

    Targets without a guarantee stand to the right of all others, by kind.
    """
    # To three digits: two calibrations to one epsilon differ in the fifth.
    shown = [float(f"{p.epsilon:.3g}") if p.epsilon else None for p in points]
    logs = {e: float(np.log10(e)) for e in shown if e}
    last = max(logs.values(), default=-0.5)
    step = max(0.5, 0.35 * (last - min(logs.values(), default=last)))
    missing = [k for k in KINDS if any(p.kind == k and not p.epsilon for p in points)]
    aside = {kind: last + step * (i + 1) for i, kind in enumerate(missing)}
    ticks = {x: f"{e:,.0f}" if e >= 100 else f"{e:.3g}" for e, x in logs.items()}
    ticks |= {aside[k]: KINDS[k][0].split(" (")[0].replace(" ", "\n") for k in missing}
    own = [logs[e] if e else aside[p.kind] for p, e in zip(points, shown, strict=True)]
    # Points at the very same place stand side by side.
    same = [[k for k, x in enumerate(own) if x == place] for place in own]
    return [
        place + 0.22 * step * (group.index(i) - (len(group) - 1) / 2)
        for i, (place, group) in enumerate(zip(own, same, strict=True))
    ], ticks


def _mark(
    axes: Axes, point: Point, i: int, x: Interval | None, y: Interval | None
) -> None:
    if x is None or y is None:
        return
    name, marker, role = KINDS[point.kind]
    colour = PAPER[role]
    axes.plot([x[1], x[2]], [y[0], y[0]], color=colour, lw=1.1)
    axes.plot([x[0], x[0]], [y[1], y[2]], color=colour, lw=1.1)
    inside = "none" if "control" in name else colour
    look = {"color": colour, "markerfacecolor": inside, "ls": "none"}
    axes.plot([x[0]], [y[0]], marker=marker, label=name, zorder=3, **look)
    small = {"textcoords": "offset points", "fontsize": 9}
    axes.annotate(str(i), (x[0], y[0]), (5, 4), **small)
