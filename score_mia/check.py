"""Argument checks that name the argument, its value, the bound and the remedy.

Every mistake a user can mend is a `UserError`; the command line prints it as one line
and exits with a non-zero status, everything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

LONGEST_NAME = 100
"""Characters of a name that becomes a file or folder; with what the house adds to it
(the part of a shard, the end of a temporary file), 255 bytes are never reached."""

_LONGEST_PART = 255  # bytes, on nearly every file system
_NAME = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")


class UserError(ValueError):
    """A mistake in the input (never in the code), told in one line with its remedy."""


class Damaged(UserError):
    """A file that was computed is at fault: no result of what reads it."""


class Unreachable(UserError):
    """A store that cannot be asked: of what it holds nothing is known."""


class Incomplete(UserError):
    """Some part failed; all else is done and written.

    Attributes:
      done: what was done, to be printed as if nothing had failed.
    """

    def __init__(self, message: str, done: str) -> None:
        super().__init__(message)
        self.done = done


def require(condition: bool, thing: str, problem: str, remedy: str) -> None:
    """Raise `UserError("thing: problem; remedy")` unless the condition holds."""
    if not condition:
        raise UserError(f"{thing}: {problem}; {remedy}")


@contextlib.contextmanager
def refusing(problem: str, remedy: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Tell errors of these kinds as `UserError("problem (what happened); remedy")`.

    A `UserError` stays as it is.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError(f"{problem} ({reason(error)}); {remedy}") from error


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


def one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Require that `value` is one of the known names."""
    known = list(known)
    remedy = did_you_mean(str(value), known)
    require(value in known, f"{name}={value!r}", "is unknown", remedy)


def file_name(what: str, name: str) -> None:
    """Require a name that can be a file or folder wherever it is written.

    Names of attacks and of a study's audits and exhibits come from configs and become
    folders; an absolute one would leave the workdir.
    """
    require(
        isinstance(name, str) and _NAME.fullmatch(name) is not None,
        f"{what} {name!r}",
        "cannot be the name of a file or folder",
        "use letters, digits, '-', '_' and '.', the first a letter, a digit or '_', "
        f"and at most {LONGEST_NAME} of them",
    )


def workdir(path: str | Path) -> Path:
    """The folder in which a run keeps everything, required to be one it can write in.

    Raises:
      UserError: it is empty, too long, a file, below a file, or not writable.
    """
    told = f"--workdir={path!s}"
    require(str(path) != "", told, "is empty", "name a folder, such as runs/first")
    require("\0" not in str(path), told, "holds a NUL", "name a folder")
    url = "://" in str(path)
    require(not url, told, "is no folder", "this command takes a folder only")
    path = Path(path)
    for part in path.parts:
        ok = len(os.fsencode(part)) <= _LONGEST_PART
        problem = f"has a part of {len(os.fsencode(part))} bytes"
        require(ok, told, problem, f"give names of at most {_LONGEST_PART}")
    remedy = "choose a writable folder"
    for folder in (path, *path.absolute().parents):
        try:
            if folder.is_symlink() and not folder.exists():
                raise UserError(f"{told}: {folder} is a link to nothing; {remedy}")
            if not folder.exists():
                continue
        except OSError as error:
            raise UserError(f"{told}: {error.strerror}; {remedy}") from error
        require(folder.is_dir(), told, f"cannot write: {folder} is a file", remedy)
        usable = os.access(folder, os.W_OK | os.X_OK)
        require(usable, told, f"cannot write in {folder}", remedy)
        return path
    return path


def extra(name: str) -> str:
    """The remedy for a package of an extra of setup.py that is not installed."""
    return f"in a clone of score_mia run: pip install -e '.[{name}]'"


def existing(path: str | Path, what: str) -> Path:
    """The path, required to exist; `what` says what it was to be."""
    try:
        path = (path if isinstance(path, Path) else Path(path)).expanduser()
        there = path.exists()
    except (OSError, RuntimeError) as error:  # a name too long, a home unknown
        raise UserError(f"{what} {path}: {reason(error)}; check the path") from error
    require(there, f"{what} {path}", "does not exist", "check the path")
    return path


def finite(name: str, values: np.ndarray) -> None:
    """Require that no value is NaN or infinite; the message counts them."""
    bad = int(np.size(values) - np.count_nonzero(np.isfinite(values)))
    require(
        bad == 0, name, f"holds {bad} NaN or infinite values", "repair or remove them"
    )


def one_line(text: object) -> str:
    """An error or a text with every run of white space as one blank."""
    return " ".join(str(text).split())


def short(text: str, most: int = 40) -> str:
    """The text, or its beginning and "..." where it has more characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def reason(error: BaseException) -> str:
    """What happened, on one line: in the system's words where it has some."""
    said = error.strerror if isinstance(error, OSError) else None
    return one_line(said or str(error) or type(error).__name__)


def printable(text: str, keep: str = "") -> str:
    """Text that cannot drive a terminal or reverse a line: such characters escaped.

    Control characters, line and paragraph separators, lone surrogates (file names that
    are no UTF-8) and the marks that turn the direction of writing become `\\x1b`,
    `\\u202e` and the like; every other character stays, and so do those to `keep`,
    such as the line ends of a table.
    """
    return "".join(
        c.encode("unicode_escape").decode("ascii")
        if _drives(c) and c not in keep
        else c
        for c in text
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
