"""What stands beside the attacks in every report: is it the model that tells them?

A classifier that never saw the model, images that stand on both sides of the split, and
how far the two groups are apart in an encoder's eyes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from score_mia.report.text import SPACE, estimate, p_text
from score_mia.results import Blind, Controls, NearDuplicates, Shift


@dataclasses.dataclass(frozen=True)
class Control:
    """One control in words.

    Attributes:
      name: what it is called.
      value: its number, or "not measured".
      detail: interval, p-value, how many images, with which encoder.
      meaning: what a good number says, and a bad one.
      measured: whether this audit has it.
    """

    name: str
    value: str
    detail: str
    meaning: str
    measured: bool

    @property
    def text(self) -> str:
        """Number and detail on one line."""
        between = " " if self.detail.startswith("[") else ", "
        return f"{self.value}{between}{self.detail}" if self.detail else self.value


BLIND = "Blind classifier"
DUPLICATES = "Near-duplicates"
SHIFT = "Shift of the groups"
_MEANING = {
    BLIND: (
        "Tells members from non-members by the images alone; it never saw the model. "
        "Away from 0.5 the groups differ by themselves, and attacks may only show that."
    ),
    DUPLICATES: (
        "Non-members that nearly repeat a member look like members to any attack, and "
        "pull it towards chance."
    ),
    SHIFT: (
        "Distance of the two groups without any model; near 0 for groups drawn from "
        "one source."
    ),
}


def rows(controls: Controls) -> tuple[Control, ...]:
    """The three controls; those that were not measured say so."""
    nothing = ("not measured", "")
    blind, near, shift = controls.blind, controls.near_duplicates, controls.shift
    made = (
        (BLIND, nothing if blind is None else _blind(blind)),
        (DUPLICATES, nothing if near is None else _duplicates(near)),
        (SHIFT, nothing if shift is None else _shift(shift)),
    )
    return tuple(
        Control(name, *words, _MEANING[name], words is not nothing)
        for name, words in made
    )


def csv_rows(controls: Controls) -> Iterator[Sequence[Any]]:
    """Rows of attacks.csv: name, measure, FPR, value, low, high, resolvable, counts."""
    blind, near, shift = controls.blind, controls.near_duplicates, controls.shift
    if blind is not None:
        name, counts = f"control: {BLIND}", (blind.members, blind.nonmembers)
        auc = blind.auc
        yield (name, "auc", "", auc.value, auc.low, auc.high, auc.resolvable, *counts)
        if blind.p_value is not None:
            yield (name, "p_value", "", blind.p_value, "", "", "", *counts)
    if near is not None:
        for measure, number in dataclasses.asdict(near).items():
            yield (f"control: {DUPLICATES}", measure, "", number)
    if shift is not None:
        kid = shift.kid
        numbers = (kid.value, kid.low, kid.high, True, *kid.n)
        yield (f"control: {SHIFT}", f"kid[{shift.encoder}]", "", *numbers)


def warnings(controls: Controls) -> list[str]:
    """What the controls of an audit say against its numbers, in words."""
    lines = []
    blind, near, shift = controls.blind, controls.near_duplicates, controls.shift
    if near is not None and near.pairs:
        lines.append(
            f"{near.nonmembers} non-members nearly repeat a member "
            f"({near.exact_pairs} pairs are identical, RMSE below "
            f"{near.threshold:.3f}): they pull every attack towards chance."
        )
    if blind is not None and blind.auc.known:
        lines += _blind_warnings(blind)
    if shift is not None and shift.kid.low is not None and shift.kid.low > 0:
        lines.append(
            "The members and the non-members are two different kinds of images: their "
            f"KID by {shift.encoder} is {shift.kid.value:.3g} "
            f"[{shift.kid.low:.3g}, {shift.kid.high:.3g}], where two halves of one "
            "set have 0. Attacks may only be showing that."
        )
    return lines


def _blind_warnings(blind: Blind) -> list[str]:
    value, low, high = blind.auc.interval
    p = "" if blind.p_value is None else f" (p = {blind.p_value:.2g})"
    measured = f"AUC {value:.2f} [{low:.2f}, {high:.2f}]{p}"
    if low > 0.5:
        return [
            "A classifier that never saw the model tells members from non-members with "
            f"{measured}: the two groups differ by themselves, and attacks may only be "
            "showing that."
        ]
    if high < 0.5:
        return [
            "A classifier that never saw the model takes members for non-members more "
            f"often than chance allows, {measured}. Groups drawn independently do not "
            "do that: look for images that come in pairs, one in either group, or for "
            "a mistake in the split or the data."
        ]
    return []


def _blind(blind: Blind) -> tuple[str, str]:
    value, interval = estimate(blind.auc, blind.nonmembers, False)
    parts = [interval]
    if blind.p_value is not None:
        parts.append(p_text(blind.p_value))
    parts.append(f"{blind.members:,} members, {blind.nonmembers:,} non-members")
    return f"AUC {value}" if blind.auc.known else value, ", ".join(parts)


def _duplicates(near: NearDuplicates) -> tuple[str, str]:
    threshold = f"RMSE below {near.threshold:.3f}"
    if not near.pairs:
        return "none", threshold
    return (
        f"{near.pairs:,} pair{'' if near.pairs == 1 else 's'}",
        f"{near.exact_pairs:,} identical, of {near.members:,} members and "
        f"{near.nonmembers:,} non-members, {threshold}",
    )


def _shift(shift: Shift) -> tuple[str, str]:
    kid = shift.kid
    first, second = kid.n
    interval = "" if kid.low is None else f"[{kid.low:.3g}, {kid.high:.3g}], "
    return (
        f"KID {kid.value:.3g}",
        f"{interval}n{SPACE}={SPACE}{first:,} and {second:,}, seen by {shift.encoder}",
    )
