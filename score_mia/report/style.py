"""How every figure looks: colours, fonts, ticks, and the formats it is saved in.

matplotlib through its object interface, no pyplot, no global state. A figure is drawn
in the colours of `PAPER`. `png` and `pdf` save it as it is; `svg` turns the colours
into CSS variables, so that one drawing is read on light paper and on a dark screen, and
its words stay words.
"""

from __future__ import annotations

import contextlib
import html
import io
import math
import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

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
SALT = "score_mia"
WIDE, HIGH = 5.4, 4.0
"""Inches of one figure: about a phone's width at the size its words are set in."""


@contextlib.contextmanager
def styled(salt: str = SALT) -> Iterator[None]:
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
    return _saved(fig, "png", {"Software": None}, dpi=160, facecolor="white")


def pdf(fig: Figure) -> bytes:
    """The figure for a paper, its words as fonts; the same figure, the same bytes."""
    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    return _saved(fig, "pdf", nothing, facecolor="white")


def _saved(fig: Figure, form: str, metadata: Any, salt: str = SALT, **kw: Any) -> bytes:
    out = io.BytesIO()
    with styled(salt), warnings.catch_warnings():
        # A title in a script that the font lacks shows boxes here; the page has it.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        fig.savefig(out, format=form, metadata=metadata, **kw)
    return out.getvalue()


def svg(fig: Figure, salt: str, alt: str) -> str:
    """The figure as an `<svg>` to put into HTML.

    `salt` keeps the ids of several figures on a page apart; `alt` says in words what
    there is to see.
    """
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    text = _saved(fig, "svg", nothing, salt).decode()
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


def plain(value: float, _: Any = None) -> str:
    """A tick's number with a true minus sign."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def percent(axis: Any, *, log: bool) -> None:
    """Ticks in per cent; on a log axis without minor ones."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.6g} %")
    if log:
        axis.set_minor_formatter(lambda value, _: "")


def few_ticks(axes: Axes, low: float, high: float) -> None:
    """At most six ticks with no more digits than their distance needs.

    Numbers that are all small or all large are told in a power of ten, named at the
    axis's end, so that no label runs into the next.
    """
    from matplotlib.ticker import MaxNLocator

    largest = max(abs(low), abs(high))
    power = math.floor(math.log10(largest)) if largest > 0 else 0
    power = power if not -3 < power < 5 else 0
    ticks = MaxNLocator(nbins=5).tick_values(low, high)
    step = (ticks[1] - ticks[0]) / 10.0**power
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    # A step of 0.25 needs one digit more than its size tells.
    digits += not math.isclose(round(step, digits), step, rel_tol=1e-6)

    def text(value: float, _: Any = None) -> str:
        return f"{value / 10.0**power:.{digits}f}".replace("-", "\N{MINUS SIGN}")

    axes.set_xticks([t for t in ticks if low <= t <= high])
    axes.xaxis.set_major_formatter(text)
    if power:
        small = str(power).translate(_SUPERSCRIPT)
        axes.text(
            *(1.0, 1.02, f"axis in units of 10{small}"),
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            color=axes.xaxis.label.get_color(),
            fontsize=9,
        )


_SUPERSCRIPT = str.maketrans(
    "-0123456789",
    "\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ZERO}\N{SUPERSCRIPT ONE}"
    "\N{SUPERSCRIPT TWO}\N{SUPERSCRIPT THREE}\N{SUPERSCRIPT FOUR}"
    "\N{SUPERSCRIPT FIVE}\N{SUPERSCRIPT SIX}\N{SUPERSCRIPT SEVEN}"
    "\N{SUPERSCRIPT EIGHT}\N{SUPERSCRIPT NINE}",
)
