"""Marks beside a number that means less than it seems, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping

from score_mia.report.text import SPACE
from score_mia.results import AttackResult, AuditResult

WIDE = 0.02
"""Bits/dim of mean grid error above which a likelihood's numbers are marked."""
DAGGER = "\N{DAGGER}"
DOUBLE = "\N{DOUBLE DAGGER}"


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
    return made


def reversed_sign(entry: AttackResult) -> bool:
    """Whether non-members score higher than members for certain."""
    return entry.auc.known and entry.auc.interval[2] < 0.5


def symbols(entry: AttackResult) -> str:
    """The marks alone, to be set behind the AUC."""
    return "".join(marks(entry))


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
