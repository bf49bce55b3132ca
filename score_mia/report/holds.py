"""What the page says of the pictures it holds, and of those it leaves out."""

from __future__ import annotations

from score_mia.report import plates
from score_mia.report.content import ReportContent
from score_mia.report.text import SPACE

SHOWN = 24
"""Pictures of a group put on the page at most."""
ASK = "report=dict(pictures=True)"


def lines(content: ReportContent) -> list[str]:
    """Which images whoever holds the page holds too, in words."""
    held = _held(content)
    if held:
        sheets = (
            ("samples.png", content.samples is not None and len(content.samples)),
            ("perturbed.png", content.perturbed is not None),
        )
        files = " and ".join(name for name, there in sheets if there)
        beside = f", here and in {files} beside it" if files else ""
        return [
            f"This page shows {', '.join(held)}: its config asks for them ({ASK}). "
            f"Whoever is given the page is given these images{beside}. It holds "
            "neither file names nor ids."
        ]
    said = [
        "This page shows no image: none of the data set, and none that the model made, "
        "since samples of a model that memorises are training images. It holds "
        "numbers, curves over many images, and neither file names nor ids. "
        f"To have pictures on it, say {ASK} in the config and make the report again."
    ]
    return [*said, *_nearest(content)]


def shows(content: ReportContent) -> bool:
    """Whether there is any picture on the page."""
    return bool(_held(content))


def _held(content: ReportContent) -> list[str]:
    """Kinds of pictures with their numbers."""
    held = []
    groups = (
        (content.members, "training image", "members"),
        (content.nonmembers, "image the model never saw", "non-members"),
    )
    for pictures, one, group in groups:
        if pictures is not None and len(pictures):
            n = min(SHOWN, len(pictures))
            many = one if n == 1 else one.replace("image", "images")
            held.append(f"{n}{SPACE}{many} ({group})")
    if content.perturbed is not None:
        n = len(content.perturbed.images)
        held.append(f"{n}{SPACE}training image{'s' * (n > 1)} under noise")
    pairs = plates.pairs(content)
    if pairs:
        beside = pairs[0].member is not None
        n = len(pairs)
        held.append(
            f"{n}{SPACE}sample{'s' * (n > 1)} of the model"
            + (", each beside the nearest training image" if beside else "")
        )
    return held


def _nearest(content: ReportContent) -> list[str]:
    """How near the samples come to training images, as numbers."""
    found = content.nearest
    if found is None or not len(found.distances):
        return []
    ordered = sorted(map(float, found.distances))
    middle = ordered[len(ordered) // 2]
    return [
        f"Each of {len(ordered):,} samples was held against {found.among:,} training "
        f"images: the root-mean-square difference of pixels to the nearest is "
        f"{ordered[0]:.3f} at the least and {middle:.3f} in the median (0 is a copy, "
        "pixels range from 0 to 1)."
    ]
