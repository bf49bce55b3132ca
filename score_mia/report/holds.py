"""What the page says of the pictures it holds, and of those it leaves out."""

from __future__ import annotations

from score_mia.report.content import NearestContent, ReportContent
from score_mia.report.text import SPACE

SHOWN = 24
"""Pictures of a group put on the page at most."""
ASK = "report=dict(pictures=True)"


def lines(content: ReportContent) -> list[str]:
    """Which images whoever holds the page holds too, in words."""
    kinds, near = _kinds(content), content.nearest
    if kinds:
        sheets = (
            ("samples.png", near is not None and near.samples is not None),
            ("perturbed.png", content.perturbed is not None),
        )
        files = " and ".join(name for name, there in sheets if there)
        beside = f", here and in {files} beside it" if files else ""
        return [
            f"This page shows {', '.join(kinds)}: its config asks for them ({ASK}). "
            f"Whoever is given the page is given these images{beside}. It holds "
            "neither file names nor ids."
        ]
    silence = [
        "This page shows no image: none of the data set, and none that the model made, "
        "since samples of a model that memorises are training images. It holds "
        "numbers, curves over many images, and neither file names nor ids. "
        f"To have pictures on it, say {ASK} in the config and run the audit again: it "
        "computes no signal anew."
    ]
    return [*silence, *_distances(near)]


def shows(content: ReportContent) -> bool:
    """Whether there is any picture on the page."""
    return bool(_kinds(content))


def pairs_caption(near: NearestContent) -> str:
    """What the reader sees in the pairs, and out of how many they were taken."""
    shown = 0 if near.samples is None else len(near.samples)
    if near.members is None:
        return f"{shown} of {len(near.distances):,} pictures the model generated."
    return (
        f"Above: pictures the model generated; below: the nearest of {near.among:,} "
        f"training images, with the root-mean-square difference of their pixels (0 is "
        f"a copy, pixels range from 0 to 1). The {shown} closest of "
        f"{len(near.distances):,} samples, closest first."
    )


def _kinds(content: ReportContent) -> list[str]:
    """Kinds of pictures with their numbers."""
    kinds = []
    groups = (
        (content.members, "training image", "members"),
        (content.nonmembers, "image the model never saw", "non-members"),
    )
    for pictures, one, group in groups:
        if pictures is not None and len(pictures):
            n = min(SHOWN, len(pictures))
            many = one if n == 1 else one.replace("image", "images")
            kinds.append(f"{n}{SPACE}{many} ({group})")
    if content.perturbed is not None:
        n = len(content.perturbed.images)
        kinds.append(f"{n}{SPACE}training image{'s' * (n > 1)} under noise")
    near = content.nearest
    if near is not None and near.samples is not None:
        n = len(near.samples)
        beside = ", each beside the nearest training image"
        kinds.append(
            f"{n}{SPACE}sample{'s' * (n > 1)} of the model"
            + ("" if near.members is None else beside)
        )
    return kinds


def _distances(near: NearestContent | None) -> list[str]:
    """How near the samples come to training images, as numbers."""
    if near is None or not near.among:
        return []
    far = near.distances
    return [
        f"Each of {len(far):,} samples was held against {near.among:,} training "
        f"images: the root-mean-square difference of pixels to the nearest is "
        f"{far[0]:.3f} at the least and {far[len(far) // 2]:.3f} in the median (0 is a "
        "copy, pixels range from 0 to 1)."
    ]
