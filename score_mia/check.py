"""Argument checks that name the argument, its value, the bound and the remedy.

Every mistake a user can mend is a `UserError`; the command line prints it as one line
and exits with a non-zero status, everything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np


class UserError(ValueError):
    """A mistake in the input (never in the code), told in one line with its remedy."""


def require(condition: bool, thing: str, problem: str, remedy: str) -> None:
    """Raise `UserError("thing: problem; remedy")` unless the condition holds."""
    if not condition:
        raise UserError(f"{thing}: {problem}; {remedy}")


def at_least(name: str, value: float, low: float) -> None:
    """Require `value >= low` (NaN fails)."""
    ok = bool(value >= low)
    require(ok, f"{name}={value!r}", f"is below {low}", f"give {low} or more")


def positive(name: str, value: float) -> None:
    """Require a finite `value > 0`."""
    ok = bool(np.isfinite(value)) and value > 0
    require(ok, f"{name}={value!r}", "is not positive", "give a finite number above 0")


def within(name: str, value: float, low: float, high: float) -> None:
    """Require `low <= value <= high` (NaN fails)."""
    ok = bool(low <= value <= high)
    bound = f"[{low}, {high}]"
    require(ok, f"{name}={value!r}", f"is outside {bound}", f"give a number in {bound}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The remedy for an unknown name: the nearest known one, and the whole list."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}known: {', '.join(known)}"


def one_of(name: str, value: str, known: Iterable[str]) -> None:
    """Require that `value` is one of the known names."""
    known = list(known)
    require(
        value in known,
        f"{name}={value!r}",
        "is unknown",
        did_you_mean(str(value), known),
    )


def existing(path: str | Path, what: str) -> Path:
    """The path, required to exist; `what` says what it was to be."""
    path = Path(path).expanduser()
    require(path.exists(), f"{what} {path}", "does not exist", "check the path")
    return path


def finite(name: str, values: np.ndarray) -> None:
    """Require that no value is NaN or infinite; the message counts them."""
    bad = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
    require(
        bad == 0, name, f"holds {bad} NaN or infinite values", "repair or remove them"
    )


def printable(text: str) -> str:
    """Text that cannot drive a terminal or reverse a line: such characters escaped.

    Control characters, line and paragraph separators, lone surrogates (file names that
    are no UTF-8) and the marks that turn the direction of writing become `\\x1b`,
    `\\u202e` and the like; every other character stays.
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii") if _drives(c) else c for c in text
    )


def _drives(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs")
        or character in _DIRECTION
    )


_DIRECTION = frozenset(
    map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
)
"""Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm."""
