"""Differences of images as columns, one for each pixel and channel.

A signal that compares two images says how far they are apart in one number. For a rule
that looks at the difference itself, the head of a paper say, it gives

    -|x - y| at every pixel,

minus, so that higher is more member-like in each column as it is in a distance: rules
that know nothing of images (`mean` is minus the mean absolute difference, `best` the
one pixel that is best) point the right way, and those that learn of both classes do not
care.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from score_mia.check import require

Pixels = tuple[int, int, int]
"""Height, width, channels of the image that the columns hold."""

MOST = 64 * 64 * 4
"""Columns that a signal may have so: the latents of an image of 512 x 512."""

Differences = Float[Array, "*n h w c"] | Float[np.ndarray, "*n h w c"]


def check_pixels(pixels: Pixels) -> None:
    """Refuse what is no shape of an image, or has more pixels than rules can hold."""
    told = f"pixels={pixels}"
    ok = len(pixels) == 3 and min(pixels) > 0
    require(ok, told, "is no (height, width, channels)", "give three numbers above 0")
    count = math.prod(pixels)
    problem = f"comes to {count:,} columns, above {MOST:,}"
    remedy = "give a height and width smaller by a whole factor, to take means over it"
    require(count <= MOST, told, problem, remedy)


def check_shape(pixels: Pixels, shape: tuple[int, ...]) -> None:
    """Refuse images [h, w, c] that do not come down to these pixels."""
    height, width, channels = shape
    ok = height % pixels[0] == width % pixels[1] == 0 and channels == pixels[2]
    problem = f"do not come down to pixels={pixels}"
    remedy = "give their shape, or a height and width smaller by a whole factor"
    require(ok, f"differences of shape {tuple(shape)}", problem, remedy)


def pixelwise(apart: Differences, pixels: Pixels) -> Any:
    """Minus the (mean) absolute difference of each pixel, an array [..., h w c].

    Args:
      apart: differences [..., H, W, c], H and W multiples of h and w.
      pixels: (h, w, c).

    Raises:
      UserError: they are of another shape.
    """
    *lead, height, width, channels = apart.shape
    check_shape(pixels, (height, width, channels))
    h, w, c = pixels
    blocks = abs(apart).reshape(*lead, h, height // h, w, width // w, c)
    return -blocks.mean(axis=(-4, -2)).reshape(*lead, h * w * c)
