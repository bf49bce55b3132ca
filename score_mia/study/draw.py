"""Figures over several audits, in the style of the report's and out of its parts."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from score_mia.report.content import ColumnContent
from score_mia.report.curves import ColumnCurves, RocCurve
from score_mia.report.figure import (
    DASHES,
    PAPER,
    SERIES,
    at_rate,
    banded,
    clock_axis,
    figure,
    roc_axes,
    styled,
)
from score_mia.report.text import level
from score_mia.report.ticks import percent
from score_mia.study.exhibit import Cell, Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Named = tuple[str, ColumnContent, ColumnCurves]
"""An audit's label, the columns of its attack, and their curves."""


# --- TPR against the diffusion step ------------------------------------------------


def by_audit(
    audits: Sequence[Named], fprs: Sequence[float], axes: Sequence[str]
) -> Figure:
    """A panel for each audit, a curve for each FPR (Figs. 1, 7a, 8a and 11)."""
    rates = sorted(fprs, reverse=True)
    with styled():
        fig, panels = _panels(len(audits), axes, shared="log_snr")
        for (name, columns, curves), line in zip(audits, panels, strict=True):
            for axis, panel in zip(axes, line, strict=True):
                for i, rate in enumerate(rates):
                    _curve(panel, axis, columns, curves, rate, *at_rate(i, rate))
                _finish(panel, axis, columns.time_label, name)
        _turn(panels, axes)
        fig.supylabel("true-positive rate", fontsize=10)
        _legend(fig, panels)
        return fig


def by_rate(
    audits: Sequence[Named], fprs: Sequence[float], axes: Sequence[str]
) -> Figure:
    """A panel for each FPR, a curve for each audit (Fig. 5); guessing is dotted."""
    with styled():
        fig, panels = _panels(len(fprs), axes, shared="all")
        for rate, line in zip(fprs, panels, strict=True):
            for axis, panel in zip(axes, line, strict=True):
                for i, (name, columns, curves) in enumerate(audits):
                    look = (SERIES[i % len(SERIES)], DASHES[i % len(DASHES)], name)
                    _curve(panel, axis, columns, curves, rate, *look)
                panel.axhline(rate, color=PAPER["soft"], lw=1, ls=":")
                _finish(panel, axis, audits[0][1].time_label, f"at {level(rate)} FPR")
                if not panel.lines[1:]:
                    _nothing(panel)
        _turn(panels, axes)
        fig.supylabel("true-positive rate", fontsize=10)
        _legend(fig, panels)
        return fig


def _panels(
    count: int, axes: Sequence[str], shared: str
) -> tuple[Figure, list[list[Axes]]]:
    """Panels below each other, one column for each axis."""
    wide, high = 4.2 * len(axes), 0.75 + 1.9 * count
    fig, grid = figure(max(wide, 5.4), max(high, 2.9), count, len(axes), sharey=True)
    for column, axis in zip(grid.T, axes, strict=True):
        for panel in column[1:]:
            if shared in ("all", axis):
                panel.sharex(column[0])
    return fig, [list(line) for line in grid]


def _curve(
    panel: Axes,
    axis: str,
    columns: ColumnContent,
    curves: ColumnCurves,
    rate: float,
    *look: Any,
) -> None:
    values = curves.tpr[rate]
    if values is None:
        return
    x = columns.time if axis == "time" else columns.log_snr
    keep = np.isfinite(x) & np.isfinite(values).all(axis=0)
    order = np.argsort(x[keep], kind="stable")
    banded(panel, x[keep][order], values[:, keep][:, order], *look)


def _finish(panel: Axes, axis: str, time_label: str, title: str) -> None:
    if not panel.lines:
        _nothing(panel)
    panel.set_ylim(-0.03, 1.03)
    percent(panel.yaxis, log=False)
    panel.grid(True, axis="y")
    panel.set_title(title, loc="left")
    if axis == "time":
        clock_axis(panel, time_label)


def _nothing(panel: Axes) -> None:
    middle = {"ha": "center", "va": "center", "transform": panel.transAxes}
    panel.text(0.5, 0.5, "below resolution", color=PAPER["soft"], **middle)


def _turn(panels: Sequence[Sequence[Axes]], axes: Sequence[str]) -> None:
    """Once for all, since the panels share it: noise grows to the right."""
    for k, axis in enumerate(axes):
        if axis == "log_snr":
            clock_axis(panels[-1][k], None)


def _legend(fig: Figure, panels: Sequence[Sequence[Axes]]) -> None:
    """One for the whole figure, each name once."""
    named: dict[str, Any] = {}
    for line in panels:
        for panel in line:
            handles, labels = panel.get_legend_handles_labels()
            named |= dict(zip(labels, handles, strict=True))
    if named:
        handles, names = [*named.values()], [*named]
        wide = min(4, len(named))
        fig.legend(handles, names, loc="outside upper center", ncols=wide)


# --- ROC -----------------------------------------------------------------------------


def rocs(panels: Mapping[str, Mapping[str, RocCurve]]) -> Figure:
    """A log-log ROC for each name, on the same axes (Figs. 2, 4 and 6)."""
    columns = min(2, len(panels))
    lines = -(-len(panels) // columns)
    shown = [curve for curves in panels.values() for curve in curves.values()]
    with styled():
        fig, grid = figure(
            5.4 if columns == 1 else 9.0, 0.3 + 3.9 * lines, lines, columns
        )
        for axes, (name, curves) in zip(grid.flat, panels.items(), strict=False):
            roc_axes(axes, curves, among=shown)
            axes.set_title(name, loc="left")
            axes.legend(loc="lower right")
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        return fig


# --- a table as a picture ------------------------------------------------------------

_LETTER, _LINE, _WRAP = 0.078, 0.2, 24
"""Inches of a letter's width and of the distance of lines; letters of a small line."""


def table(content: Table) -> Figure:
    """A table for slides: the page and LaTeX set it better."""
    head = Row(tuple(Cell("\n".join(textwrap.wrap(h, 12))) for h in content.header))
    rows = [[_lines(c) for c in r.cells] for r in (head, *content.rows)]
    widths = [
        0.2 + max(max(_LETTER * scale * len(text) for text, scale in c) for c in column)
        for column in zip(*rows, strict=True)
    ]
    heights = [_LINE * (0.4 + max(map(len, row))) for row in rows]
    with styled():
        fig, ((axes,),) = figure(sum(widths), sum(heights) + _LINE)
        axes.set_axis_off()
        axes.set(xlim=(0, sum(widths)), ylim=(sum(heights) + 0.5 * _LINE, -0.5 * _LINE))
        tops = [0.0, *np.cumsum(heights)]
        for y in (tops[0], tops[1], tops[-1]):
            axes.plot([0, sum(widths)], [y, y], color=PAPER["soft"], lw=0.9)
        for row, lines, top in zip((head, *content.rows), rows, tops, strict=False):
            _text_row(axes, row, lines, widths, top, heading=row is head)
        return fig


def _lines(cell: Cell) -> list[tuple[str, float]]:
    """The lines of a cell with their size."""
    small = textwrap.wrap(cell.below, _WRAP)
    return [(t, 1.0) for t in cell.value.split("\n")] + [(t, 0.8) for t in small]


def _text_row(
    axes: Axes,
    row: Row,
    cells: Sequence[Sequence[tuple[str, float]]],
    widths: Sequence[float],
    top: float,
    heading: bool,
) -> None:
    ends = np.cumsum(widths)
    for k, lines in enumerate(cells):
        faint = heading or row.published or not row.cells[k].known
        for i, (text, scale) in enumerate(lines):
            axes.text(
                0.1 if k == 0 else ends[k] - 0.1,
                top + _LINE * (i + 0.7),
                text,
                color=PAPER["soft" if faint or scale < 1 else "ink"],
                fontsize=9.5 * scale,
                style="italic" if row.published else "normal",
                ha="left" if k == 0 else "right",
                va="center",
            )


# --- frontier ------------------------------------------------------------------------

KINDS = {
    "private": ("DP-SGD", "o", "blue"),
    "none": ("no privacy", "s", "ink"),
    "clip_only": ("clip only (control)", "^", "orange"),
    "noise_only": ("noise only (control)", "v", "orange"),
}
"""How a target was trained -> its name, marker and colour role."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A target on the frontier; intervals are (value, low, high), None if not known.

    Attributes:
      kind: of `KINDS`.
      epsilon: accounted; None for a target without guarantee.
      quality: a distance of its samples.
      tpr: of the attack.
      ceiling: largest TPR that its guarantee leaves to any attack.
    """

    kind: str
    epsilon: float | None
    quality: tuple[float, float, float] | None
    tpr: tuple[float, float, float] | None
    ceiling: float | None


def frontier(points: Sequence[Point], quality: str, tpr: str) -> Figure:
    """Quality and TPR against epsilon, and TPR against quality, points numbered.

    Args:
      points: the targets.
      quality, tpr: labels of the axes.
    """
    places, ticks = _places(points)
    with styled():
        fig, ((left, middle, right),) = figure(11.4, 4.0, 1, 3)
        for i, (point, place) in enumerate(zip(points, places, strict=True), 1):
            _mark(left, point, (place, place, place), point.quality)
            _mark(middle, point, (place, place, place), point.tpr)
            _mark(right, point, point.quality, point.tpr)
            if point.ceiling is not None:
                reach = [place - 0.05, place + 0.05]
                look = {"color": PAPER["ink"], "lw": 1.6}
                middle.plot(reach, [point.ceiling] * 2, label="most ε allows", **look)
            across = point.quality[0] if point.quality else None
            for axes, x, y in (
                (left, place, point.quality),
                (middle, place, point.tpr),
                (right, across, point.tpr),
            ):
                if x is not None and y is not None:
                    look = {"textcoords": "offset points", "fontsize": 9}
                    axes.annotate(str(i), (x, y[0]), (5, 4), **look)
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
        _legend(fig, [[left, middle, right]])
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
    axes: Axes,
    point: Point,
    x: tuple[float, float, float] | None,
    y: tuple[float, float, float] | None,
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
