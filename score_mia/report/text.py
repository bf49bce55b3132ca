"""Numbers as words: every estimate is printed with its interval and its n, or not."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from score_mia.results import AttackResult, AuditResult, Distance, Estimate

SPACE = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
FIRST = 8
"""Attacks that are drawn, and told of in words; all are in the tables and csv."""


def distinct(titles: Mapping[str, str]) -> dict[str, str]:
    """Title by key; titles that several keys share are followed by their key.

    Two attacks of one kind read "Loss at one time (loss)" and "... (loss-b)".
    """
    counts = Counter(titles.values())
    return {k: t if counts[t] == 1 else f"{t} ({k})" for k, t in titles.items()}


def without_folders(text: str) -> str:
    """A text with every path in it cut down to its last part.

    What a report says of a failure must not tell where things lie on a machine.
    """
    return _RELATIVE.sub("", _ABSOLUTE.sub("", text))


_ABSOLUTE = re.compile(
    r"(?<![\w/\\])(?:~|\.{1,2}|[A-Za-z]:)?[/\\](?:[^\s/\\:;,'\"()]+[/\\])*(?=[\w.])"
)
_RELATIVE = re.compile(r"(?<![\w./-])(?:[\w.-]+/){2,}(?=[\w.])")


def share(value: float) -> str:
    """A share in [0, 1] in per cent: "93.4 %"; never rounded onto 0 or 100."""
    percent = 100 * value
    if 0 < percent < 0.05:
        return f"<0.1{SPACE}%"
    if 99.95 <= percent < 100:
        return f">99.9{SPACE}%"
    return f"{percent:.1f}{SPACE}%"


def unit(value: float) -> str:
    """A number in [0, 1] with three decimals; never rounded onto 0 or 1."""
    if 0 < value < 0.0005:
        return "<0.001"
    if 0.9995 <= value < 1:
        return ">0.999"
    return f"{value:.3f}"


def level(fpr: float) -> str:
    """A false-positive rate as people write it: 0.01 becomes "1 %"."""
    return f"{100 * fpr:.10g}{SPACE}%"


def span(low: float, high: float, percent: bool) -> str:
    """An interval: "[86.2, 97.8] %" in per cent or "[0.861, 0.978]"."""
    if percent:
        return f"[{100 * low:.1f}, {100 * high:.1f}]{SPACE}%"
    return f"[{low:.3f}, {high:.3f}]"


def numbers(e: Estimate) -> tuple[Any, ...]:
    """An estimate in a csv: value, low, high, and whether it can be resolved."""
    return e.value, e.low, e.high, e.resolvable


def estimate(entry: Estimate, nonmembers: int | None, percent: bool) -> tuple[str, str]:
    """Value and interval of an estimate as two texts.

    An estimate that the non-members cannot resolve becomes
    ("below resolution", "n = 500"): no number is ever printed for it.
    """
    if not entry.known:
        n = f"n{SPACE}={SPACE}{nonmembers:,}" if nonmembers is not None else "n unknown"
        return "below resolution", n
    value, low, high = entry.interval
    return share(value) if percent else unit(value), span(low, high, percent)


def quantity(value: float | None) -> str:
    """A plain measured number, e.g. seconds or network evaluations: "1,000", "0.12"."""
    if value is None or not math.isfinite(value):
        return "not measured"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def p_text(value: float) -> str:
    """A p-value as people write it, never zero: "p = 0.43", "p < 0.001"."""
    if value < 0.001:
        return f"p{SPACE}<{SPACE}0.001"
    return f"p{SPACE}={SPACE}{value:.2g}"


def distance_text(entry: Distance) -> str:
    """A distance between two sets of images: "0.012 [0.01, 0.014], n = 256 and 64"."""
    value = f"{entry.value:.4g}"
    if entry.low is not None:
        value += f" [{entry.low:.3g}, {entry.high:.3g}]"
    first, second = entry.n
    few = min(first, second) <= entry.features and entry.low is None
    more = ", fewer images than features" if few else ""
    return f"{value}, n{SPACE}={SPACE}{first:,} and {second:,}{more}"


def aside(entry: Estimate) -> str:
    """What else an estimate says: how large the FPR behind "zero FP" may really be."""
    upper = entry.fpr_upper
    return "" if upper is None else f"true FPR up to {100 * upper:.2g}{SPACE}%"


# --- marks beside a number that means less than it seems ---

WIDE = 0.02
"""Bits/dim of mean grid error above which a likelihood's numbers are marked."""
DAGGER = "\N{DAGGER}"
DOUBLE = "\N{DOUBLE DAGGER}"
SECTION = "\N{SECTION SIGN}"


def marks(entry: AttackResult) -> dict[str, str]:
    """Mark and its words, for an attack; most have none."""
    made = {}
    if entry.accuracy is not None and entry.accuracy.mean > WIDE:
        made[DAGGER] = (
            f"measured error of the likelihood {grid_error(entry)}, above {WIDE:g} "
            "bits/dim: the log-likelihoods are less right than they should be, and "
            "what is computed from them may change with a finer grid"
        )
    if reversed_sign(entry):
        made[DOUBLE] = (
            "the AUC's whole interval lies below 0.5: non-members score higher than "
            "members, which is no sign of safety"
        )
    if above := above_nominal(entry):
        made[SECTION] = above
    return made


def above_nominal(entry: AttackResult) -> str:
    """That the fixed threshold accuses more than it was set for, with the numbers.

    Empty where it does not for certain (`FixedThreshold.above_nominal`).
    """
    fixed = entry.at_fixed_threshold
    if fixed is None or not fixed.above_nominal:
        return ""
    set_on = entry.calibration_nonmembers
    others = f", set on {set_on:,} others" if set_on else ""
    return (
        f"{ABOVE}: {nominal(entry)}. The fixed threshold{others} accuses more than it "
        "promised"
    )


ABOVE = "above nominal"


def nominal(entry: AttackResult) -> str:
    """The FPR asked of the fixed threshold and what came of it; empty without one."""
    fixed = entry.at_fixed_threshold
    if fixed is None or fixed.nominal_fpr is None or not fixed.fpr.known:
        return ""
    value, low, high = fixed.fpr.interval
    accused, n = round(value * entry.nonmembers), entry.nonmembers
    return (
        f"a nominal FPR of {level(fixed.nominal_fpr)} became {share(value)} "
        f"{span(low, high, True)} ({accused:,} of {n:,} non-members)"
    )


PROMISES = "Fixed thresholds"
"""The group of facts that tells of each attack's nominal FPR what came of it."""


def thresholds(result: AuditResult) -> dict[str, dict[str, str]]:
    """The group, of attacks with a nominal FPR; empty without."""
    lines = {
        name: said + (f": {ABOVE}" if above_nominal(entry) else "")
        for name, entry in result.scored.items()
        if (said := nominal(entry))
    }
    return {PROMISES: lines} if lines else {}


def reversed_sign(entry: AttackResult) -> bool:
    """Whether non-members score higher than members for certain."""
    return entry.auc.known and entry.auc.interval[2] < 0.5


def symbols(entry: AttackResult) -> str:
    """The marks that concern the AUC, to be set behind it."""
    return "".join(mark for mark in marks(entry) if mark != SECTION)


def mark_lines(
    result: AuditResult, titles: Mapping[str, str] | None = None
) -> list[str]:
    """What the marks beside numbers mean, a line for each; attacks by their titles."""
    return [
        f"{mark} {(titles or {}).get(name, name)}: {words}."
        for name, entry in result.attacks.items()
        for mark, words in marks(entry).items()
    ]


def grid_error(entry: AttackResult) -> str:
    """A likelihood's measured error, e.g. "0.0041 bits/dim on average, ..."; or ""."""
    error = entry.accuracy
    if error is None:
        return ""
    return (
        f"{error.mean:.2g}{SPACE}bits/dim on average, {error.max:.2g} at most "
        f"({error.images:,} images)"
    )
