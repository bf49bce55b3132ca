"""How an attack grows with something: one of its numbers against what was varied."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from score_mia.check import at_least, one_of, require
from score_mia.report import draw, table
from score_mia.report.draw import DASHES
from score_mia.report.exhibits import base
from score_mia.report.exhibits.attacks import MEASURES, estimate_of
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.style import PAPER, SERIES, figure, percent, styled
from score_mia.report.text import numbers
from score_mia.results import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CSV = ("curve", "at", "audit", "attack", "measure", "value", "low", "high")
CSV += ("resolvable", "members", "nonmembers")


class Point(NamedTuple):
    """An attack of an audit, where it stands on the axis."""

    at: float
    audit: str
    attack: str


@dataclasses.dataclass(frozen=True)
class AttackCurve(base.Exhibit):
    """One number of attacks against what was varied (Fig. 4 of Pang & Wang 2023).

    Attributes:
      curves: name -> points, each (x, audit, attack); those of audits that are not
        finished are left out.
      across: what x is.
      measure: "auc", "tpr@0.1" or "tpr@0.01".
      logarithmic: whether x is drawn so; it is above 0 then.
    """

    curves: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    across: str = ""
    measure: str = "auc"
    logarithmic: bool = True

    heading: ClassVar[str] = "What an attack grows with"

    def __post_init__(self) -> None:
        one_of("measure", self.measure, MEASURES)
        require(len(self.curves) > 0, "curves", "are none", "name attacks")
        for name, points in self.curves.items():
            where = f"curves.{name}"
            some = isinstance(points, list | tuple) and len(points) > 0
            require(some, where, "is no list of points", "give (x, audit, attack)")
            for point in points:
                _point(where, point)
                if self.logarithmic:
                    remedy = "give x above 0, or logarithmic=False"
                    require(point[0] > 0, where, f"has x = {point[0]:g}", remedy)

    def points(self, name: str) -> list[Point]:
        """Of one curve, from left to right."""
        return sorted(Point(*each) for each in self.curves[name])

    def among(self, names: Any) -> tuple[str, ...]:
        """The audits that it has points of."""
        every = [p.audit for name in self.curves for p in self.points(name)]
        named = tuple(names)
        for audit in every:
            one_of("audit", audit, named)
        return tuple(name for name in super().among(named) if name in every)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse attacks that the audit will not have."""
        for curve in self.curves:
            for point in self.points(curve):
                if point.audit == name:
                    planned.find(point.attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        finished = {audit.name: audit for audit in audits}
        title, share = MEASURES[self.measure]
        found: dict[str, list[tuple[float, Estimate]]] = {}
        rows, lines, counts = [], [], set()
        for name in self.curves:
            for point in self.points(name):
                audit = finished.get(point.audit)
                if audit is None:
                    continue
                entry = audit.result.attacks[point.attack]
                value = estimate_of(entry, self.measure)
                found.setdefault(name, []).append((point.at, value))
                n = (entry.members, entry.nonmembers)
                counts.add(n)
                cell = base.number(value, entry.nonmembers, share)
                each = f"{n[0]:,} and {n[1]:,}"
                rows.append(Row((Cell(name), Cell(f"{point.at:,g}"), cell, Cell(each))))
                lines.append((name, *point, title, *numbers(value), *n))
        header = ("Attack", self.across or "x", title, "Members and non-members")
        return Built(
            f"{title} against {self.across or 'what was varied'}; bars are "
            f"{base.levels(audits)} intervals, the dotted line is guessing. "
            f"{_sizes(counts)}",
            table.csv_text(CSV, lines),
            f"{title} of {', '.join(found)} against {self.across}.",
            base.Table(header, tuple(rows)),
            _drawn(found, self.across, self.measure, self.logarithmic),
        )


def _point(where: str, point: Any) -> None:
    ok = isinstance(point, list | tuple) and len(point) == 3
    ok = ok and isinstance(point[0], int | float)
    ok = ok and all(isinstance(name, str) for name in point[1:])
    require(ok, where, f"has the point {point!r}", "give (x, audit, attack)")
    at_least(where, float(point[0]), 0.0)


def _sizes(counts: set[tuple[int, int]]) -> str:
    if len(counts) != 1:
        return "How many images each point is of stands in the table."
    ((members, others),) = counts
    return f"Each point is of {members:,} members and {others:,} non-members."


def _drawn(
    found: Mapping[str, Sequence[tuple[float, Estimate]]],
    across: str,
    measure: str,
    logarithmic: bool,
) -> Figure:
    title, share = MEASURES[measure]
    with styled():
        fig, ((axes,),) = figure(5.4, 3.4, 1, 1)
        for i, (name, points) in enumerate(found.items()):
            known = [(at, e.interval) for at, e in points if e.known]
            if not known:
                continue
            x = [at for at, _ in known]
            middle, low, high = zip(*(interval for _, interval in known), strict=True)
            colour = PAPER[SERIES[i % len(SERIES)]]
            look = {"color": colour, "ls": DASHES[i % len(DASHES)]}
            axes.plot(x, middle, marker="o", ms=4, label=name, **look)
            axes.vlines(x, low, high, color=colour, lw=1.1)
        guess = float(measure.partition("@")[2] or 0.5)
        axes.axhline(guess, color=PAPER["soft"], lw=1, ls=":")
        if logarithmic:
            axes.set_xscale("log")
        ticks = sorted({at for points in found.values() for at, _ in points})
        axes.set_xticks(ticks, [f"{at:,g}" for at in ticks])
        axes.minorticks_off()
        axes.set(xlabel=across, ylabel=title)
        if share:
            percent(axes.yaxis, log=False)
        axes.grid(True, axis="y")
        draw.legend(fig, (axes,))
        return fig
