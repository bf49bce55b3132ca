"""Numbers along an axis: few, short, and with true minus signs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
