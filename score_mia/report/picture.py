"""Pictures for the page: small, inline, and as they are (no smoothing)."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from score_mia.check import require
from score_mia.metrics.copies import Copying, Neighbours
from score_mia.report.content import NearestContent, ReportContent
from score_mia.report.text import SPACE

LARGEST = 128
"""Longest side shown, in pixels; larger pictures are reduced."""
LIGHT = 12_000
"""Bytes above which a picture is sent as JPEG instead of PNG."""


def unit_pictures(
    pictures: Shaped[np.ndarray, "n h w c"],
) -> Float[np.ndarray, "n h w d"]:
    """uint8 or float pictures as float32 in [0, 1] with one or three channels.

    An alpha channel is dropped, NaN becomes black.
    """
    require(
        pictures.ndim == 4 and pictures.shape[-1] in (1, 3, 4),
        f"pictures of shape {pictures.shape}",
        "are not [n, h, w, c] with 1, 3 or 4 channels",
        "reshape them",
    )
    scale = 255.0 if pictures.dtype == np.uint8 else 1.0
    out = np.nan_to_num(np.asarray(pictures[..., :3], np.float32)) / np.float32(scale)
    return np.clip(out, 0, 1)


def data_uri(picture: Float[np.ndarray, "h w c"]) -> str:
    """One picture in [0, 1] as a `data:` address for an `<img>`.

    PNG while that is light, else JPEG, so that a page full of noise can be mailed.
    """
    from PIL import Image

    array = np.round(255 * picture).astype(np.uint8)
    image = Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True)
    kind, data = "png", out.getvalue()
    if len(data) > LIGHT:
        out = io.BytesIO()
        image.save(out, format="JPEG", quality=82)
        kind, data = "jpeg", out.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def tiles(
    pictures: Shaped[np.ndarray, "n h w c"], labels: Sequence[str] = ()
) -> list[tuple[str, list[str]]]:
    """Address of each picture, and the lines of its label."""
    lines = [label.splitlines() for label in labels or [""] * len(pictures)]
    return [*zip(map(data_uri, unit_pictures(pictures)), lines, strict=True)]


PAIRS = 16
"""Samples shown with their nearest members at most."""


def held_against(
    samples: UInt8[np.ndarray, "n h w c"],
    near: Neighbours,
    images: Callable[[np.ndarray], np.ndarray],
    setting: Copying,
    *,
    shown: bool,
) -> NearestContent:
    """The samples' distances to members, and the nearest pairs if they may be shown.

    Args:
      samples: the target's.
      near: the members nearest to each.
      images: from ids of members to their pictures.
      setting: what counts as a copy.
      shown: whether there are to be pictures.
    """
    relative = near.relative(setting.alpha)
    order = np.lexsort((near.nearest, relative))
    first = order[:PAIRS]
    return NearestContent(
        near.nearest[order],
        near.among,
        unit_pictures(samples[first]) if shown else None,
        unit_pictures(images(near.index[first])) if shown else None,
        relative[order],
    )


# --- what the page says of the pictures it holds, and of those it leaves out ---

SHOWN = 24
"""Pictures of a group put on the page at most."""
ASK = "report=dict(pictures=True)"


def held(content: ReportContent) -> list[str]:
    """Which images whoever holds the page holds too, in words."""
    shown, near = kinds(content), content.nearest
    if shown:
        sheets = (
            ("samples.png", near is not None and near.samples is not None),
            ("perturbed.png", content.perturbed is not None),
        )
        files = " and ".join(name for name, there in sheets if there)
        beside = f", here and in {files} beside it" if files else ""
        return [
            f"This page shows {', '.join(shown)}: its config asks for them ({ASK}). "
            f"Whoever is given the page is given these images{beside}. It holds "
            "neither file names nor ids."
        ]
    lines = [
        "This page shows no image: none of the data set, and none that the model made, "
        "since samples of a model that memorises are training images. It holds "
        "numbers, curves over many images, and neither file names nor ids. "
        f"To have pictures on it, say {ASK} in the config and run the audit again: it "
        "computes no signal anew."
    ]
    if near is not None and near.among:
        far = near.distances
        lines.append(
            f"Each of {len(far):,} samples was held against {near.among:,} training "
            "images: the root-mean-square difference of pixels to the nearest is "
            f"{np.min(far):.3f} at the least and {np.median(far):.3f} in the median "
            "(0 is a copy, pixels range from 0 to 1)."
        )
    return lines


def pairs_caption(near: NearestContent) -> str:
    """What the reader sees in the pairs, and out of how many they were taken."""
    shown = 0 if near.samples is None else len(near.samples)
    if near.members is None:
        return f"{shown} of {len(near.distances):,} pictures the model generated."
    how = ""
    if near.relative is not None:
        how = ", and in brackets that distance over the scale of a near-copy"
    return (
        f"Above: pictures the model generated; below: the nearest of {near.among:,} "
        f"training images, with the root-mean-square difference of their pixels (0 is "
        f"a copy, pixels range from 0 to 1){how}. The {shown} closest of "
        f"{len(near.distances):,} samples, closest first."
    )


def kinds(content: ReportContent) -> list[str]:
    """Kinds of pictures on the page with their numbers, in words."""
    made, near, noised = [], content.nearest, content.perturbed
    groups = (
        (content.members, "training image", " (members)"),
        (content.nonmembers, "image the model never saw", " (non-members)"),
        (None if noised is None else noised.images, "training image", " under noise"),
    )
    for pictures, one, group in groups:
        if pictures is not None and len(pictures):
            n = min(SHOWN, len(pictures))
            many = one if n == 1 else one.replace("image", "images")
            made.append(f"{n}{SPACE}{many}{group}")
    if near is not None and near.samples is not None:
        n = len(near.samples)
        beside = ", each beside the nearest training image" * (near.members is not None)
        made.append(f"{n}{SPACE}sample{'s' * (n > 1)} of the model{beside}")
    return made
