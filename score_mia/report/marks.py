"""Marks beside a number that means less than it seems, and the words for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from score_mia.report.text import SPACE, known

WIDE = 0.02
"""Bits/dim of mean grid error above which a likelihood's numbers are marked."""
DAGGER = "\N{DAGGER}"
DOUBLE = "\N{DOUBLE DAGGER}"


def marks(entry: Mapping[str, Any]) -> dict[str, str]:
    """Mark and its words, for an attack's entry of metrics.json; most have none."""
    made = {}
    accuracy = entry.get("accuracy")
    if accuracy and not accuracy["mean"] <= WIDE:
        made[DAGGER] = (
            f"measured error of the likelihood {grid_error(entry)}, above {WIDE:g} "
            "bits/dim: the log-likelihoods are less right than they should be, and "
            "what is computed from them may change with a finer grid"
        )
    auc = entry.get("auc")
    if auc and known(auc) and auc["high"] < 0.5:
        made[DOUBLE] = (
            "the AUC's whole interval lies below 0.5: non-members score higher than "
            "members, which is no sign of safety"
        )
    return made


def symbols(entry: Mapping[str, Any]) -> str:
    """The marks alone, to be set behind the AUC."""
    return "".join(marks(entry))


def grid_error(entry: Mapping[str, Any]) -> str:
    """A likelihood's measured error, e.g. "0.0041 bits/dim on average, ..."; or ""."""
    accuracy = entry.get("accuracy")
    if not accuracy:
        return ""
    return (
        f"{accuracy['mean']:.2g}{SPACE}bits/dim on average, {accuracy['max']:.2g} at "
        f"most ({accuracy['images']:,} images)"
    )
