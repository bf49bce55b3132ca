"""The figures, of one audit and of many: each function returns a `Figure`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from score_mia.report.content import AttackContent, Stepped
from score_mia.report.curves import RocCurve
from score_mia.report.style import (
    DASHES,
    PAPER,
    SERIES,
    WIDE,
    few_ticks,
    figure,
    percent,
    plain,
    styled,
)
from score_mia.report.text import level

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# --- ROC -----------------------------------------------------------------------------


def roc(
    curves: Mapping[str, RocCurve],
    ceiling: tuple[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Log-log ROC with pointwise 95 % bands and the chance diagonal (Fig. 2).

    The axis ends a little below one false positive among the non-members: what lies
    there cannot be measured with this many images, and is shaded. `ceiling` is a name
    and the largest TPR that a guarantee leaves at each FPR; `titles` is what the legend
    calls the curves, if not by their keys.
    """
    strong = is_strong(curves)
    many = len(curves) > MANY
    with styled():
        ratios = {"height_ratios": [3, 2]} if strong else None
        fig, grid = figure(
            high=4.4 + 2.2 * strong + 0.12 * len(curves) * many,
            rows=1 + strong,
            sharex=True,
            gridspec_kw=ratios,
        )
        axes = grid[0, 0]
        roc_axes(axes, curves, ceiling=ceiling, titles=titles)
        if strong:
            _missed(grid[1, 0], curves)
            axes.set_xlabel("")
        if many:
            handles, labels = axes.get_legend_handles_labels()
            fig.legend(handles, labels, loc="outside lower center", ncols=2)
        else:
            axes.legend(loc="lower right")
        return fig


def is_strong(curves: Mapping[str, RocCurve]) -> bool:
    """Whether an attack recognises so many that a log axis crushes its curve."""
    return any(np.any(c.tpr[c.fpr <= 0.1] > STRONG) for c in curves.values())


STRONG = 0.9
"""A TPR above which log axes crush curves, so that what they miss is drawn, too."""
MANY = 3
"""With more attacks than this legends stand outside and bands are paler."""


def _missed(axes: Axes, curves: Mapping[str, RocCurve]) -> None:
    """The share of members missed, 1 - TPR, on a log axis: less is further up."""
    floor = 0.5 * min(1 / c.members for c in curves.values())
    for i, c in enumerate(curves.values()):
        colour = PAPER[SERIES[i % len(SERIES)]]
        missed, low, high = (np.maximum(1 - v, floor) for v in (c.tpr, c.high, c.low))
        band = {"color": colour, "alpha": _band(len(curves)), "lw": 0}
        axes.fill_between(c.fpr, low, high, step="post", **band)
        look = {"color": colour, "lw": 1.9, "ls": DASHES[i % len(DASHES)]}
        axes.plot(c.fpr, missed, drawstyle="steps-post", **look)
    axes.set(yscale="log", ylim=(1, 0.8 * floor))
    axes.set(xlabel="false-positive rate", ylabel="members missed")
    percent(axes.yaxis, log=True)
    axes.grid(True)


def _band(curves: int) -> float:
    """Opacity of a band: many bands over each other would hide the curves."""
    return 0.15 if curves <= MANY else 0.06


def roc_axes(
    axes: Axes,
    curves: Mapping[str, RocCurve],
    *,
    among: Iterable[RocCurve] = (),
    ceiling: tuple[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    titles: Mapping[str, str] | None = None,
) -> None:
    """Draw `roc` into one panel; its axes have room for the curves of `among` too."""
    shown = [*curves.values(), *among]
    finest = min(1 / c.nonmembers for c in shown)
    left, bottom = 0.3 * finest, 0.5 * min(finest, *(1 / c.members for c in shown))
    own = min(1 / c.nonmembers for c in curves.values())
    axes.axvspan(left, own, color=PAPER["veil"], lw=0)
    n = max(c.nonmembers for c in curves.values())
    axes.text(
        (left * own) ** 0.5,
        0.5,
        f"below resolution (n = {n:,})",
        transform=axes.get_xaxis_transform(),
        rotation=90,
        ha="center",
        va="center",
        color=PAPER["soft"],
        fontsize=9,
    )
    diagonal = np.array([max(left, bottom), 1.0])
    axes.plot(diagonal, diagonal, color=PAPER["soft"], lw=1, ls=":", label="chance")
    for i, (name, c) in enumerate(curves.items()):
        label, pale = (titles or {}).get(name, name), _band(len(curves))
        _step_curve(axes, c, label, i, bottom / 10, pale)
    if ceiling is not None:
        rates = np.geomspace(left, 1.0, 200)
        look = {"color": PAPER["ink"], "lw": 1.2, "ls": (0, (3, 1, 1, 1))}
        axes.plot(rates, ceiling[1](rates), label=ceiling[0], **look)
    axes.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(bottom, 1.15))
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate")
    percent(axes.xaxis, log=True)
    percent(axes.yaxis, log=True)
    axes.grid(True)


def _step_curve(
    axes: Axes, c: RocCurve, name: str, i: int, floor: float, pale: float
) -> None:
    colour = PAPER[SERIES[i % len(SERIES)]]
    # An achieved TPR holds until the next false positive is allowed: steps to the
    # right. Zero has no place on a log axis and is drawn below its end.
    tpr, low, high = (np.maximum(v, floor) for v in (c.tpr, c.low, c.high))
    axes.fill_between(c.fpr, low, high, step="post", color=colour, alpha=pale, lw=0)
    axes.plot(
        c.fpr,
        tpr,
        drawstyle="steps-post",
        color=colour,
        lw=1.9,
        ls=DASHES[i % len(DASHES)],
        label=name if not name.startswith("_") else f" {name}",
    )


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


# --- against the diffusion step ----------------------------------------------------


def by_step(steps: Stepped, axis: str) -> Figure:
    """TPR and AUC of every column against "time" or "log_snr" (Fig. 1).

    Above the AUC, below the TPRs that the non-members resolve, both with pointwise
    95 % intervals; the step chosen on reference data is marked. On either axis noise
    grows to the right.
    """
    auc = steps.curves.auc
    with styled():
        fig, grid = figure(
            high=4.9, rows=2, sharex=True, gridspec_kw={"height_ratios": [2, 3]}
        )
        above, below = grid[:, 0]
        _curve(above, axis, steps, auc, "soft", "-", "AUC")
        above.axhline(0.5, color=PAPER["soft"], lw=1, ls=":")
        floor = min(0.45, np.nanmin(auc[1])) - 0.02
        above.set(ylabel="AUC", ylim=(floor, 1.03))
        for i, rate in enumerate(sorted(steps.curves.tpr, reverse=True)):
            _curve(below, axis, steps, steps.curves.tpr[rate], *_at_rate(i, rate))
        below.set(ylabel="true-positive rate", ylim=(-0.03, 1.03))
        percent(below.yaxis, log=False)
        _clock_axis(below, steps.time_label if axis == "time" else None)
        _mark_chosen(above, below, steps, axis)
        for axes in (above, below):
            axes.grid(True, axis="y")
        if below.get_legend_handles_labels()[0]:
            below.legend(loc="best")
        return fig


Named = tuple[str, Stepped]
"""An audit's label, and what its attack measured step by step."""


def by_audit(
    audits: Sequence[Named], fprs: Sequence[float], axes: Sequence[str]
) -> Figure:
    """A panel for each audit, a curve for each FPR (Figs. 1, 7a, 8a and 11)."""
    rates = sorted(fprs, reverse=True)
    looks = {rate: _at_rate(i, rate) for i, rate in enumerate(rates)}
    panels = [
        (name, steps.time_label, [(steps, r, look) for r, look in looks.items()])
        for name, steps in audits
    ]
    return _panels(panels, axes, shared="log_snr")


def by_rate(
    audits: Sequence[Named], fprs: Sequence[float], axes: Sequence[str]
) -> Figure:
    """A panel for each FPR, a curve for each audit (Fig. 5); guessing is dotted."""
    looks = [
        (SERIES[i % len(SERIES)], DASHES[i % len(DASHES)], name)
        for i, (name, _) in enumerate(audits)
    ]
    label = audits[0][1].time_label
    panels = [
        (
            f"at {level(rate)} FPR",
            label,
            [(s, rate, look) for (_, s), look in zip(audits, looks, strict=True)],
        )
        for rate in fprs
    ]
    fig = _panels(panels, axes, shared="all")
    for i, axis in enumerate(fig.axes):
        rate = fprs[i // len(axes)]
        axis.axhline(rate, color=PAPER["soft"], lw=1, ls=":")
    return fig


def _panels(
    panels: Sequence[tuple[str, str, Sequence[tuple[Stepped, float, Any]]]],
    axes: Sequence[str],
    shared: str,
) -> Figure:
    """Panels below each other, one column for each axis.

    Args:
      panels: title, label of the time axis, and (steps, rate, look) of each curve.
      axes: "time" and "log_snr".
      shared: the axis that panels of a column have in common, or "all".
    """
    wide, high = 4.2 * len(axes), 0.75 + 1.9 * len(panels)
    with styled():
        fig, grid = figure(
            max(wide, 5.4), max(high, 2.9), len(panels), len(axes), sharey=True
        )
        for column, axis in zip(grid.T, axes, strict=True):
            for panel in column[1:]:
                if shared in ("all", axis):
                    panel.sharex(column[0])
        for (title, label, curves), line in zip(panels, grid, strict=True):
            for axis, panel in zip(axes, line, strict=True):
                for steps, rate, look in curves:
                    _curve(panel, axis, steps, steps.curves.tpr[rate], *look)
                _finish(panel, axis, label, title)
        for k, axis in enumerate(axes):
            if axis == "log_snr":  # once for all, since the panels share it
                _clock_axis(grid[-1, k], None)
        fig.supylabel("true-positive rate", fontsize=10)
        legend(fig, grid.flat)
        return fig


def _finish(panel: Axes, axis: str, time_label: str, title: str) -> None:
    if not panel.lines:
        middle = {"ha": "center", "va": "center", "transform": panel.transAxes}
        panel.text(0.5, 0.5, "below resolution", color=PAPER["soft"], **middle)
    panel.set_ylim(-0.03, 1.03)
    percent(panel.yaxis, log=False)
    panel.grid(True, axis="y")
    panel.set_title(title, loc="left")
    if axis == "time":
        _clock_axis(panel, time_label)


def legend(fig: Figure, panels: Iterable[Axes]) -> None:
    """One for the whole figure, each name once, in as many columns as there is room."""
    named: dict[str, Any] = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    for columns in range(min(4, len(named)), 0, -1):
        entries = [*named.values()], [*named]
        made = fig.legend(*entries, loc="outside upper center", ncols=columns)
        if columns == 1 or made.get_window_extent().width <= fig.bbox.width:
            break
        made.remove()


def _at_rate(i: int, rate: float) -> tuple[str, Any, str]:
    """Colour role, dash and label of the i-th of the curves at several FPRs."""
    return f"level{min(i, 3) + 1}", DASHES[i % 4], f"at {level(rate)} FPR"


def _clock_axis(axes: Axes, time_label: str | None) -> None:
    """Noise grows to the right: on the process's clock, or on log-SNR if that is None.

    To be called once for axes that share their x.
    """
    if time_label is None:
        axes.invert_xaxis()
    axes.set_xlabel(time_label or "log-SNR, ln(α²/σ²)")
    axes.xaxis.set_major_formatter(plain)


def _curve(
    axes: Axes,
    axis: str,
    steps: Stepped,
    values: np.ndarray | None,
    role: str,
    dash: Any,
    label: str,
) -> None:
    """A curve [3, K] (value, low, high) with its interval; None is not drawn."""
    if values is None:
        return
    x = steps.axis(axis)
    keep = np.isfinite(x) & np.isfinite(values).all(axis=0)
    order = np.argsort(x[keep], kind="stable")
    x, (value, low, high) = x[keep][order], values[:, keep][:, order]
    axes.fill_between(x, low, high, color=PAPER[role], alpha=0.15, lw=0)
    axes.plot(x, value, color=PAPER[role], lw=1.8, ls=dash, label=label)


def _mark_chosen(above: Axes, below: Axes, steps: Stepped, axis: str) -> None:
    if steps.chosen is None or not np.isfinite(steps.axis(axis)[steps.chosen]):
        return
    for axes in (above, below):
        x = float(steps.axis(axis)[steps.chosen])
        axes.axvline(x, color=PAPER["orange"], lw=1.2, ls=(0, (4, 2)))
    above.set_title(
        f"chosen on reference data: {steps.words(steps.chosen)}",
        color=PAPER["orange"],
        fontsize=9.5,
        loc="right",
    )


# --- scores, training, pictures ---


def histogram(
    attacks: Mapping[str, AttackContent], wide: float = WIDE, least: float = 2.9
) -> Figure:
    """Membership scores of members and non-members, each group summing to 100 %.

    Args:
      attacks: a panel each, by title.
      wide, least: inches of its width, and of its height at the least.
    """
    with styled():
        high = 0.6 + 1.9 * len(attacks)
        fig, grid = figure(wide, max(high, least), rows=len(attacks))
        for axes, (title, attack) in zip(grid[:, 0], attacks.items(), strict=True):
            _histogram(axes, attack)
            axes.set_title(title, loc="left")
        grid[-1, 0].set_xlabel("membership score (higher = more member-like)")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=2)
        return fig


def _histogram(axes: Axes, attack: AttackContent) -> None:
    scores = attack.scores[np.isfinite(attack.scores)]
    if not len(scores):
        axes.text(0.5, 0.5, "no finite scores", ha="center", va="center")
        return
    low, high = np.percentile(scores, (0.5, 99.5))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, 33)
    groups = (
        ("non-members", ~attack.member, "orange"),
        ("members", attack.member, "blue"),
    )
    for label, rows, role in groups:
        # Values beyond the drawn range are counted in the first and last bar.
        part = np.clip(attack.scores[rows & np.isfinite(attack.scores)], low, high)
        share = np.histogram(part, edges)[0] / max(len(part), 1)
        axes.stairs(share, edges, fill=True, color=PAPER[role], alpha=0.22, lw=0)
        name = f"{label} (n = {len(part):,})"
        dash = "-" if label == "members" else DASHES[1]
        axes.stairs(share, edges, color=PAPER[role], lw=1.5, ls=dash, label=name)
    axes.set(xlim=(low, high), ylabel="share of group")
    few_ticks(axes, low, high)
    percent(axes.yaxis, log=False)


def training(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Training loss against the step with its running mean, or None without losses."""
    points = [
        (float(r["step"]), float(r["loss"]))
        for r in records
        if r.get("loss") is not None and np.isfinite(float(r["loss"]))
    ]
    if not points:
        return None
    step, loss = np.array(sorted(points)).T
    window = max(1, len(loss) // 25)
    kernel = np.ones(window) / window
    smooth = np.convolve(loss, kernel, mode="valid")
    middle = step[(window - 1) // 2 :][: len(smooth)]
    thin = slice(None, None, max(1, len(loss) // 400))
    with styled():
        fig, ((axes,),) = figure(high=2.9)
        name = "loss"
        if window > 1:
            light, name = PAPER["level1"], f"mean of {window} records"
            axes.plot(step[thin], loss[thin], color=light, lw=0.9, label="loss")
        axes.plot(middle[thin], smooth[thin], color=PAPER["level3"], lw=1.8, label=name)
        if loss.min() > 0 and loss.max() > 5 * loss.min():
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(plain)
            axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set(xlabel="training step", ylabel="training loss")
        axes.grid(True, axis="y")
        if window > 1:
            axes.legend(loc="upper right")
        return fig


def sheet(
    rows: Sequence[tuple[str, np.ndarray]], titles: Sequence[Sequence[str]] = ()
) -> Figure:
    """Rows of pictures [c, h, w, k] in [0, 1] with a name each; `titles` of the first
    rows' pictures.
    """
    columns = max(len(pictures) for _, pictures in rows)
    with styled():
        wide, named = 0.95, 1.1 if any(name for name, _ in rows) else 0.1
        high = (wide + 0.05) * len(rows) + 0.35 * max(1, len(titles))
        fig, grid = figure(named + wide * columns, high, len(rows), columns)
        for (name, pictures), line in zip(rows, grid, strict=True):
            for k, axes in enumerate(line):
                axes.set_axis_off()
                if k < len(pictures):
                    _picture(axes, pictures[k])
            line[0].text(
                -0.1, 0.5, name, transform=line[0].transAxes, ha="right", va="center"
            )
        for line, told in zip(grid, titles, strict=False):
            for axes, title in zip(line, told, strict=False):
                axes.set_title(title, fontsize=8.5)
        return fig


def _picture(axes: Axes, picture: np.ndarray) -> None:
    if picture.shape[-1] == 1:
        axes.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=1)
    else:
        axes.imshow(np.clip(picture, 0, 1))
