"""Pictures for the page: small, inline, and as they are (no smoothing)."""

from __future__ import annotations

import base64
import io

import numpy as np
from jaxtyping import Float, Int, Shaped

from score_mia.check import require
from score_mia.report.content import NearestContent

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


def nearest(
    samples: Float[np.ndarray, "n h w c"], others: Float[np.ndarray, "m h w c"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """For each sample the index of the nearest other and the distance to it.

    The distance is the root mean square over pixels, in the unit of [0, 1].
    """
    flat = others.reshape(len(others), -1)
    norms = np.einsum("md,md->m", flat, flat)
    index = np.empty(len(samples), np.int64)
    far = np.empty(len(samples), np.float32)
    for i, sample in enumerate(samples.reshape(len(samples), -1)):
        # |a - b|² = |a|² - 2 a·b + |b|² finds the nearest without a copy of all.
        index[i] = np.argmin(norms - 2 * (flat @ sample))
        far[i] = np.sqrt(np.mean((flat[index[i]] - sample) ** 2))
    return index, far


PAIRS = 16
"""Samples shown with their nearest members at most."""


def held_against(
    samples: Shaped[np.ndarray, "n h w c"] | None,
    members: Shaped[np.ndarray, "m _ _ _"],
    *,
    shown: bool,
) -> NearestContent | None:
    """The samples' distances to members, and the nearest pairs if they may be shown.

    Samples of another shape than the members are shown alone.
    """
    if samples is None or not len(samples):
        return None
    made = unit_pictures(samples)
    if members.shape[1:] != samples.shape[1:] or not len(members):
        nothing = np.full(len(made), np.nan)
        return NearestContent(nothing, 0, made[:PAIRS] if shown else None)
    others = unit_pictures(members)
    index, far = nearest(made, others)
    order = np.argsort(far, kind="stable")
    near = order[:PAIRS]
    return NearestContent(
        far[order],
        len(members),
        made[near] if shown else None,
        others[index[near]] if shown else None,
    )
