"""What stands beside the attacks in every report: is it the model that tells them?

A classifier that never saw the model, images that stand on both sides of the split, and
how far the two groups are apart in an encoder's eyes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from score_mia.report.text import SPACE, estimate, known, p_text


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


def controls(metrics: Mapping[str, Any]) -> tuple[Control, ...]:
    """The three controls; those that an older audit did not measure say so."""
    entries = _entries(metrics)
    made = []
    for name, key, words in (
        (BLIND, "blind", _blind),
        (DUPLICATES, "near_duplicates", _duplicates),
        (SHIFT, "shift", _shift),
    ):
        entry = entries.get(key)
        value, detail = words(entry) if entry else ("not measured", "")
        made.append(Control(name, value, detail, _MEANING[name], bool(entry)))
    return tuple(made)


def csv_rows(metrics: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
    """Rows of attacks.csv: name, measure, FPR, value, low, high, resolvable, counts."""
    entries = _entries(metrics)
    blind = entries.get("blind")
    if blind:
        name, counts = f"control: {BLIND}", (blind["members"], blind["nonmembers"])
        auc = blind["auc"]
        numbers = (auc["value"], auc["low"], auc["high"], auc.get("resolvable", True))
        yield (name, "auc", "", *numbers, *counts)
        if "p_value" in blind:
            yield (name, "p_value", "", blind["p_value"], "", "", "", *counts)
    duplicates = entries.get("near_duplicates") or {}
    for measure, number in duplicates.items():
        if measure in _COUNTS:
            yield (f"control: {DUPLICATES}", measure, "", number)
    shift = entries.get("shift")
    if shift:
        kid = shift["kid"]
        numbers = (kid["value"], kid["low"], kid["high"], True, *kid["n"])
        yield (f"control: {SHIFT}", f"kid[{shift['encoder']}]", "", *numbers)


_COUNTS = ("pairs", "exact_pairs", "members", "nonmembers", "threshold")


def _entries(metrics: Mapping[str, Any]) -> Mapping[str, Any]:
    return metrics.get("controls") or {}


def _blind(entry: Mapping[str, Any]) -> tuple[str, str]:
    auc = entry["auc"]
    value, interval = estimate(auc, entry["nonmembers"], False)
    parts = [interval]
    if "p_value" in entry:
        parts.append(p_text(entry["p_value"]))
    parts.append(f"{entry['members']:,} members, {entry['nonmembers']:,} non-members")
    return f"AUC {value}" if known(auc) else value, ", ".join(parts)


def _duplicates(entry: Mapping[str, Any]) -> tuple[str, str]:
    pairs, near = entry["pairs"], f"RMSE below {entry['threshold']:.3f}"
    if not pairs:
        return "none", near
    return (
        f"{pairs:,} pair{'' if pairs == 1 else 's'}",
        f"{entry['exact_pairs']:,} identical, of {entry['members']:,} members and "
        f"{entry['nonmembers']:,} non-members, {near}",
    )


def _shift(entry: Mapping[str, Any]) -> tuple[str, str]:
    kid = entry["kid"]
    first, second = kid["n"]
    interval = "" if kid["low"] is None else f"[{kid['low']:.3g}, {kid['high']:.3g}], "
    return (
        f"KID {kid['value']:.3g}",
        f"{interval}n{SPACE}={SPACE}{first:,} and {second:,}, seen by "
        f"{entry['encoder']}",
    )
