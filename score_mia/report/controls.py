"""What stands beside the attacks in every report: is it the model that tells them?

A classifier that never saw the model, images that stand on both sides of the split or
more than once among the members, how far the two groups are apart in an encoder's eyes,
and what attacks say where there is nothing to find. Tests of whole sets stand here as
well: they have no AUC.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import Any

from score_mia.report.text import (
    DASH,
    FIRST,
    SPACE,
    estimate,
    numbers,
    p_text,
    share,
    span,
)
from score_mia.results import (
    AttackResult,
    AuditResult,
    Blind,
    Controls,
    Estimate,
    NearDuplicates,
    Repeats,
    Shift,
)


@dataclasses.dataclass(frozen=True)
class Control:
    """One control in words.

    Attributes:
      name: what it is called.
      value: its number, or "not measured".
      detail: interval, p-value, how many images, with which encoder.
      measured: whether this audit has it.
    """

    name: str
    value: str
    detail: str
    measured: bool

    @property
    def text(self) -> str:
        """Number and detail on one line."""
        between = " " if self.detail.startswith("[") else ", "
        return f"{self.value}{between}{self.detail}" if self.detail else self.value


BLIND = "Blind classifier"
DUPLICATES = "Near-duplicates"
REPEATS = "Repeated members"
SHIFT = "Shift of the groups"
OF_SPLIT = (BLIND, DUPLICATES, REPEATS, SHIFT)
"""Controls of the two groups, whatever attacks them."""


def rows(result: AuditResult) -> tuple[Control, ...]:
    """The four controls of a split, which may be "not measured"; then the attacks'."""
    nothing, controls = ("not measured", ""), result.controls
    blind, near, shift = controls.blind, controls.near_duplicates, controls.shift
    again = controls.repeats
    made = [
        (BLIND, nothing if blind is None else _blind(blind)),
        (DUPLICATES, nothing if near is None else _duplicates(near)),
        (REPEATS, nothing if again is None else _repeats(again)),
        (SHIFT, nothing if shift is None else _shift(shift)),
    ]
    for name, words in _OF_ATTACKS.items():
        said = [f"{n}: {text}" for n, a in result.attacks.items() if (text := words(a))]
        left = len(said) - FIRST
        if left > 0:
            said = [*said[:FIRST], f"and those of {left:,} more in attacks.csv"]
        made += [(name, ("; ".join(said), ""))] if said else []
    return tuple(
        Control(name, *words, measured=words is not nothing) for name, words in made
    )


def apart(result: AuditResult, alpha: float) -> bool:
    """Whether a classifier that never saw the model tells the groups apart."""
    blind = result.controls.blind
    if blind is None:
        return False
    if blind.p_value is not None:
        return blind.p_value < alpha
    return blind.auc.known and blind.auc.interval[1] > 0.5


def widened_low(interval: tuple[float, float, float], looks: int) -> float:
    """The lower end of a 95 % interval, moved out for the best of `looks` attacks."""
    normal = NormalDist()
    factor = normal.inv_cdf(1 - 0.025 / looks) / normal.inv_cdf(0.975)
    return interval[0] - factor * (interval[0] - interval[1])


def beaten(a: AttackResult, looks: int = 1) -> bool | None:
    """Whether an attack is shown to exceed the blind classifier; None if not known.

    Args:
      a: the attack.
      looks: of how many attacks it may be the best: one of twenty is shown to exceed
        by luck far more often than one alone.
    """
    if a.margin is None or not a.margin.known:
        return None
    return widened_low(a.margin.interval, looks) > 0


def margin(a: AttackResult, looks: int = 1) -> str:
    """An attack's margin over the blind classifier, as a sentence; empty without.

    Args:
      a, looks: as `beaten` takes them.
    """
    if a.margin is None:
        return ""
    value, low, high = a.margin.interval
    shown = f"{value:+.3f} (95{SPACE}% interval {low:+.3f} to {high:+.3f})"
    if beaten(a, looks):
        return (
            " What a classifier that never saw the model finds in the same images does "
            f"not explain this: the attack's AUC differs from its by {shown}."
        )
    return (
        " That it finds more than a classifier that never saw the model is not shown: "
        f"its AUC differs from that one's by {shown}."
    )


def finding(a: AttackResult) -> str:
    """What a test of sets says of the members, and of non-members in their place."""
    if a.kind != "set" or a.innocent is None:
        return ""
    other = a.innocent
    return (
        f"{_judged(a.p_value, a.share)} for {a.members:,} training images held against "
        f"{a.nonmembers:,} others, {_judged(other.p_value, other.share)} for "
        f"{other.images:,} others in their place"
    )


def _judged(p_value: float | None, part: Estimate | None) -> str:
    if part is None or not part.known:
        return "no finding" if p_value is None else p_text(p_value)
    value, low, high = part.interval
    within = f"95{SPACE}% interval {share(low)}{DASH}{share(high)}"
    return f"a share of {share(value)} ({within})"


def _words(control: Estimate | None, percent: bool = False) -> str:
    return "" if control is None else " ".join(estimate(control, None, percent))


def _margin(a: AttackResult) -> str:
    if a.margin is None:
        return ""
    value, low, high = a.margin.interval
    return f"{value:+.3f} {span(low, high, False)}"


_OF_ATTACKS: dict[str, Callable[[AttackResult], str]] = {
    "Beyond the blind classifier": _margin,
    "Shuffled labels": lambda a: _words(a.permuted),
    "Untrained network": lambda a: _words(a.untrained),
    "The model's own images": lambda a: _words(a.generated, True),
    "Sets of images": finding,
}
"""Controls of attacks, and what each says of one; their meanings are in the page."""


def csv_rows(controls: Controls) -> Iterator[Sequence[Any]]:
    """Rows of attacks.csv: name, measure, FPR, value, low, high, resolvable, counts."""
    blind, near, shift = controls.blind, controls.near_duplicates, controls.shift
    if blind is not None:
        name, counts = f"control: {BLIND}", (blind.members, blind.nonmembers)
        yield (name, "auc", "", *numbers(blind.auc), *counts)
        if blind.p_value is not None:
            yield (name, "p_value", "", blind.p_value, "", "", "", *counts)
    if near is not None:
        for measure, number in dataclasses.asdict(near).items():
            if measure != "complete":
                yield (f"control: {DUPLICATES}", measure, "", number)
    if controls.repeats is not None:
        for measure, number in dataclasses.asdict(controls.repeats).items():
            if measure != "complete":
                yield (f"control: {REPEATS}", measure, "", number)
    if shift is not None:
        kid = shift.kid
        found = (kid.value, kid.low, kid.high, True, *kid.n)
        yield (f"control: {SHIFT}", f"kid[{shift.encoder}]", "", *found)


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
    if controls.repeats is not None and controls.repeats.images:
        lines.append(_repeats_warning(controls.repeats))
    if blind is not None and blind.auc.known:
        again = controls.repeats is not None and controls.repeats.images > 0
        lines += [line + _BY_COPIES * again for line in _blind_warnings(blind)]
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
    if blind.p_value is not None and blind.p_value <= ALARM:
        return [
            "Simple features of the images differ between members and non-members more "
            f"than chance allows{p}, though a classifier that never saw the model does "
            f"not show it with so few (AUC {value:.2f} [{low:.2f}, {high:.2f}]): the "
            "two groups differ by themselves, and attacks may in part be showing that."
        ]
    return []


_BY_COPIES = (
    " Members that repeat each other can do that alone: a copy gives its copies away."
)
ALARM = 0.05
"""Of the blind control's p-value: the share of audits of equal groups that are told."""


def _repeats_warning(again: Repeats) -> str:
    """What repeated members do to the numbers, none of which leaves them out."""
    return (
        f"{'' if again.complete else 'At least '}{again.images:,} of "
        f"{again.members:,} members have a copy among the members ({_groups(again)}): "
        "repeated images are memorised more; their members count more than once. No "
        "number leaves them out, and intervals take them for independent images."
    )


def _repeats(again: Repeats) -> tuple[str, str]:
    if not again.images:
        return "none", f"RMSE below {again.threshold:.3f}"
    least = "" if again.complete else "at least "
    return f"{least}{again.images:,} of {again.members:,} members", _groups(again)


def _groups(again: Repeats) -> str:
    groups = f"{again.groups:,} group{'' if again.groups == 1 else 's'}"
    return (
        f"{again.exact:,} identical, the largest of {groups} {again.largest:,} images, "
        f"RMSE below {again.threshold:.3f}"
    )


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
        ("" if near.complete else "at least ")
        + f"{near.pairs:,} pair{'' if near.pairs == 1 else 's'}",
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
