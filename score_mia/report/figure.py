"""The figures: matplotlib through its object interface, no pyplot, no global state.

Each function returns a `Figure` drawn in the colours of `PAPER`. `png` saves it as it
is; `svg` turns the colours into CSS variables, so that one drawing is read on light
paper and on a dark screen, and its words stay words.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from score_mia.report.content import AttackContent, ColumnContent
from score_mia.report.curves import ColumnCurves, RocCurve
from score_mia.report.text import level
from score_mia.report.ticks import few_ticks, percent, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = {
    "ink": "#1d2430",
    "soft": "#5a6473",
    "line": "#d5dae1",
    "veil": "#eef0f4",
    "blue": "#0b66b8",
    "orange": "#c14f08",
    "green": "#0a7d60",
    "purple": "#8548a8",
    "ochre": "#8a6a00",
    "rose": "#b8326d",
    "level1": "#7fb2de",
    "level2": "#2e7ec1",
    "level3": "#0f4f8c",
    "level4": "#062c52",
}
"""Role to colour; roles are told apart by lightness and dash as well as by hue."""

SERIES = ("blue", "orange", "green", "purple", "ochre", "rose")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (5, 2, 1, 2)), (0, (1.5, 1.5)))
STYLE = {
    "axes.edgecolor": PAPER["soft"],
    "axes.labelcolor": PAPER["ink"],
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": PAPER["ink"],
    "axes.titlesize": 10.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.size": 10,
    "font.family": ["DejaVu Sans"],
    "grid.color": PAPER["line"],
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.labelcolor": PAPER["ink"],
    "pdf.fonttype": 42,  # journals refuse matplotlib's own kind of font
    "svg.fonttype": "none",
    "text.color": PAPER["ink"],
    "text.parse_math": False,
    "xtick.color": PAPER["soft"],
    "xtick.labelcolor": PAPER["ink"],
    "ytick.color": PAPER["soft"],
    "ytick.labelcolor": PAPER["ink"],
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
}
WIDE, HIGH = 5.4, 4.0
"""Inches of one figure: about a phone's width at the size its words are set in."""


@contextlib.contextmanager
def styled(salt: str = "score_mia") -> Iterator[None]:
    """Our style and no other, whatever matplotlibrc the machine has."""
    import matplotlib.style

    with matplotlib.style.context(["default", STYLE | {"svg.hashsalt": salt}]):
        yield


def figure(
    wide: float = WIDE, high: float = HIGH, rows: int = 1, columns: int = 1, **kw: Any
) -> tuple[Figure, np.ndarray]:
    """An empty figure and its axes [rows, columns]; call it inside `styled`."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(wide, high), layout="constrained")
    return fig, fig.subplots(rows, columns, squeeze=False, **kw)


def png(fig: Figure) -> bytes:
    """The figure on white paper; the same figure gives the same bytes."""
    out = io.BytesIO()
    with styled(), warnings.catch_warnings():
        # A title in a script that the font lacks shows boxes here; the page has it.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        fig.savefig(
            out, format="png", dpi=160, facecolor="white", metadata={"Software": None}
        )
    return out.getvalue()


def pdf(fig: Figure) -> bytes:
    """The figure for a paper, its words as fonts; the same figure, the same bytes."""
    out = io.BytesIO()
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
        fig.savefig(out, format="pdf", facecolor="white", metadata=nothing)
    return out.getvalue()


def svg(fig: Figure, salt: str, alt: str) -> str:
    """The figure as an `<svg>` to put into HTML.

    `salt` keeps the ids of several figures on a page apart; `alt` says in words what
    there is to see.
    """
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with styled(salt), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        fig.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    for role, colour in PAPER.items():
        text = text.replace(colour, f"var(--{role})")
    opening = re.match(r"<svg[^>]*>", text)
    assert opening is not None
    box = re.search(r'viewBox="[^"]*"', opening.group())
    assert box is not None
    label = html.escape(alt, quote=True)
    opened = f'<svg {box.group()} role="img" aria-label="{label}">'
    return opened + text[opening.end() :].strip()


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


def by_step(columns: ColumnContent, curves: ColumnCurves, axis: str) -> Figure:
    """TPR and AUC of every column against "time" or "log_snr" (Fig. 1).

    Above the AUC, below the TPRs that the non-members resolve, both with pointwise
    95 % intervals; the step chosen on reference data is marked. On either axis noise
    grows to the right.
    """
    x = columns.time if axis == "time" else columns.log_snr
    keep = np.isfinite(x)
    order = np.argsort(x[keep], kind="stable")
    with styled():
        fig, grid = figure(
            high=4.9, rows=2, sharex=True, gridspec_kw={"height_ratios": [2, 3]}
        )
        above, below = grid[:, 0]
        at = x[keep][order]
        banded(above, at, curves.auc[:, keep][:, order], "soft", "-", "AUC")
        above.axhline(0.5, color=PAPER["soft"], lw=1, ls=":")
        above.set(
            ylabel="AUC", ylim=(min(0.45, np.nanmin(curves.auc[1, keep])) - 0.02, 1.03)
        )
        for i, (rate, values) in enumerate(sorted(curves.tpr.items(), reverse=True)):
            if values is not None:
                part = values[:, keep][:, order]
                banded(below, at, part, *at_rate(i, rate))
        below.set(ylabel="true-positive rate", ylim=(-0.03, 1.03))
        percent(below.yaxis, log=False)
        clock_axis(below, columns.time_label if axis == "time" else None)
        _mark_chosen(above, below, columns, float(x[columns.chosen_index or 0]))
        for axes in (above, below):
            axes.grid(True, axis="y")
        below.legend(loc="best")
        return fig


def at_rate(i: int, rate: float) -> tuple[str, Any, str]:
    """Colour role, dash and label of the i-th of the curves at several FPRs."""
    return f"level{min(i, 3) + 1}", DASHES[i % 4], f"at {level(rate)} FPR"


def clock_axis(axes: Axes, time_label: str | None) -> None:
    """Noise grows to the right: on the process's clock, or on log-SNR if that is None.

    To be called once for axes that share their x.
    """
    if time_label is None:
        axes.invert_xaxis()
    axes.set_xlabel(time_label or "log-SNR, ln(α²/σ²)")
    axes.xaxis.set_major_formatter(plain)


def banded(
    axes: Axes, x: np.ndarray, v: np.ndarray, role: str, dash: Any, label: str
) -> None:
    """A curve v [3, K] (value, low, high) over x [K] with its interval."""
    axes.fill_between(x, v[1], v[2], color=PAPER[role], alpha=0.15, lw=0)
    axes.plot(x, v[0], color=PAPER[role], lw=1.8, ls=dash, label=label)


def _mark_chosen(above: Axes, below: Axes, columns: ColumnContent, x: float) -> None:
    if columns.chosen_index is None or not np.isfinite(x):
        return
    for axes in (above, below):
        axes.axvline(x, color=PAPER["orange"], lw=1.2, ls=(0, (4, 2)))
    above.set_title(
        f"chosen on reference data: {columns.words(columns.chosen_index)}",
        color=PAPER["orange"],
        fontsize=9.5,
        loc="right",
    )


def histogram(
    attacks: Sequence[AttackContent], wide: float = WIDE, least: float = 2.9
) -> Figure:
    """Membership scores of members and non-members, each group summing to 100 %.

    Args:
      attacks: a panel each.
      wide, least: inches of its width, and of its height at the least.
    """
    with styled():
        high = 0.6 + 1.9 * len(attacks)
        fig, grid = figure(wide, max(high, least), rows=len(attacks))
        for axes, attack in zip(grid[:, 0], attacks, strict=True):
            _histogram(axes, attack)
            axes.set_title(attack.title, loc="left")
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
