"""What a report says of copies among the model's samples: from copies.json alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from score_mia.metrics.copies import Copies, Copying, Group, Nearer
from score_mia.report.text import SPACE, numbers, p_text, share, span
from score_mia.results import Estimate


class Row(NamedTuple):
    """One statement: its name, number, what belongs to it, and what it means."""

    name: str
    value: str
    detail: str
    meaning: str


def rows(c: Copies) -> list[Row]:
    """The statements, in the order shown."""
    other, near = c.nonmembers, c.nearer
    inside = _rate(c.members, c.samples)
    made = [Row("Near-copies of members", *inside, _rule(c.setting))]
    if other is not None:
        made.append(
            Row(
                "Near-copies of non-members",
                *_rate(other, c.samples),
                "The same of images the model never saw, which it cannot have copied: "
                "so many are found where nothing is repeated.",
            )
        )
    if near is not None:
        made.append(_nearer(near))
    apart = "" if other is None else f"to non-members {_distances(other)}"
    meaning = (
        "Root-mean-square difference of pixels from 0 to 1, at the least and in the "
        "median; 0 is an exact copy."
    )
    return [*made, Row("Distance to a member", _distances(c.members), apart, meaning)]


def csv_rows(c: Copies) -> Iterator[Sequence[Any]]:
    """Rows of attacks.csv, as `controls.csv_rows` gives them, with a remark."""
    groups = (c.members.images, "" if c.nonmembers is None else c.nonmembers.images)
    remark = f"{c.samples} samples"
    for of, group in (("members", c.members), ("nonmembers", c.nonmembers)):
        if group is not None:
            of_rate = (*numbers(group.rate), *groups, remark)
            yield ("samples", f"near_copies_of_{of}", "", *of_rate)
    if (near := c.nearer) is not None:
        remark = f"{near.samples} samples without ties, {near.expected:.3f} expected"
        of_share = (*numbers(near.share), *groups, remark)
        yield ("samples", "nearer_to_members", "", *of_share)
        of_test = (near.p_value, "", "", "", *groups, remark)
        yield ("samples", "nearer_to_members_p_value", "", *of_test)


def finding(c: Copies) -> str:
    """The answer in one sentence or two."""
    if c.members.copies:
        said = (
            f"{c.members.copies:,} of {c.samples:,} samples nearly repeat a training "
            f"image; {_images(c.members.copied)} repeated."
        )
    else:
        said = (
            f"None of {c.samples:,} samples nearly repeats a training image; at most "
            f"{share(c.members.rate.interval[2])} of all samples do "
            f"({_level(c)} interval)."
        )
    near = c.nearer
    if near is None:
        return said
    value = share(near.share.interval[0])
    expected = share(near.expected)
    if near.p_value < 1 - c.level:
        return (
            f"{said} {value} of the samples are nearer to a training image than to any "
            f"other image, more than the {expected} of a model that repeats nothing "
            f"({p_text(near.p_value)})."
        )
    return (
        f"{said} That the samples are nearer to training images than to others is not "
        f"shown ({value}, {expected} expected, {p_text(near.p_value)})."
    )


def notes(c: Copies) -> list[str]:
    """What makes these numbers mean less than they seem."""
    lines, asked = [], c.setting.neighbours
    groups = {"training images": c.members, "non-members": c.nonmembers}
    for name, group in groups.items():
        if group is not None and group.neighbours < asked:
            lines.append(
                f"There are {group.images:,} {name} only, fewer than the {asked:,} "
                "neighbours asked for: the mean distance is over all of them, which "
                "lies further out and makes more samples count as near-copies."
            )
    if c.nonmembers is None:
        lines.append("There are no non-members: no control was made.")
    elif c.nonmembers.images != c.members.images:
        lines.append(
            f"The groups differ in size ({c.members.images:,} and "
            f"{c.nonmembers.images:,}): in the larger one the nearest image is nearer, "
            "and the two shares of near-copies are not quite comparable. The share of "
            "nearest members allows for it."
        )
    if c.nearer is not None and c.nearer.ties:
        lines.append(
            f"{c.nearer.ties:,} samples are as near to a member as to a non-member and "
            "are left out of that share: look for images that stand in both groups."
        )
    lines.append(
        "Differences of pixels do not see a copy that is shifted, mirrored, cropped or "
        "of another brightness: no near-copy found is no proof that there is none."
    )
    return lines


def _rule(setting: Copying) -> str:
    scale = f"{setting.alpha:g} times the mean distance to the "
    scale += f"{setting.neighbours:,} nearest training images"
    below = "" if setting.threshold == 1 else f"{setting.threshold:g} x "
    return (
        f"A sample is a near-copy if its nearest training image is closer than {below}"
        f"{scale}, the relative distance of Carlini et al. 2023."
    )


def _rate(group: Group, samples: int) -> tuple[str, str]:
    value, interval = _estimate(group.rate)
    copied = f", of {_images(group.copied)}" if group.copies else ""
    return value, (
        f"{interval}, {group.copies:,} of n{SPACE}={SPACE}{samples:,} samples{copied}, "
        f"among {group.images:,}"
    )


def _nearer(near: Nearer) -> Row:
    value, interval = _estimate(near.share)
    return Row(
        "Nearest image is a member",
        value,
        f"{interval}, n{SPACE}={SPACE}{near.samples:,} samples next to "
        f"{_images(near.images)}; {share(near.expected)} expected, "
        f"{p_text(near.p_value)}",
        "Share of samples nearer to a member than to any non-member. Expected is the "
        "members' share of all images; p by drawing anew who is a member.",
    )


def _estimate(e: Estimate) -> tuple[str, str]:
    value, low, high = e.interval
    return share(value), span(low, high, True)


def _distances(group: Group) -> str:
    return f"{group.least:.3f}, {group.median:.3f}"


def _images(count: int) -> str:
    return f"{count:,} different image{'' if count == 1 else 's'}"


def _level(c: Copies) -> str:
    return f"{100 * c.level:g}{SPACE}%"
