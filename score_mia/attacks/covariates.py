"""What an image is like, asked of no model: how bright, how busy, how large compressed.

No attack, though it stands among them: with these beside it a rule can tell how high
another signal is *for an image of this kind* (`quantile`), and a classifier that has
these alone is one more blind control.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from score_mia.attacks.protocol import Access, Columns, HostQuery, Product, Reading


@dataclasses.dataclass(frozen=True)
class Covariates:
    """Plain facts of an image in [0, 1], a column each; no model has a part in them.

    brightness, contrast    mean and spread of all values
    bytes                   of its 8-bit differences along a row, deflated (zlib)
    colour                  mean spread over the channels of a pixel; 0 of grey
    detail                  mean square of what a 3 x 3 mean leaves out
    edges                   mean square of the differences of neighbours
    entropy                 of the histogram of 8-bit values, in bits
    first, last             means of the first and the last channel
    saturated               share of values at 0 or 1
    """

    access: ClassVar[Access] = "none"
    needs: ClassVar[tuple[Product, ...]] = ()

    def columns(self, model: Any) -> Columns:
        """One column for each fact, in the order of their names."""
        return Columns(tuple(FACTS), evaluations=0.0, title="Covariates")

    def batch(
        self, model: Any, queries: HostQuery, products: tuple[Any, ...] = ()
    ) -> Reading:
        """The facts [n, K] of some images."""
        # One image at a time: a mean over many may round each by its company.
        rows = [[fact(image) for fact in FACTS.values()] for image in queries.images]
        return Reading(np.asarray(rows, np.float64).reshape(-1, len(FACTS)))


Image = Float[np.ndarray, "h w c"]


def _bytes(image: Image) -> float:
    pixels = np.rint(image * 255).astype(np.uint8)
    # As PNG's "sub" filter does: smooth images become runs of small numbers.
    return float(
        len(zlib.compress(np.diff(pixels, axis=1, prepend=np.uint8(0)).tobytes(), 9))
    )


def _detail(image: Image) -> float:
    from scipy.ndimage import uniform_filter

    smooth = uniform_filter(image.astype(np.float64), 3, mode="nearest", axes=(0, 1))
    return float(np.mean((image - smooth) ** 2))


def _edges(image: Image) -> float:
    along = [np.diff(image.astype(np.float64), axis=axis) for axis in (0, 1)]
    return float(sum(np.mean(d**2) for d in along if d.size))


def _entropy(image: Image) -> float:
    counts = np.bincount(np.rint(image * 255).astype(np.int64).ravel(), minlength=256)
    share = counts[counts > 0] / image.size
    return float(-np.sum(share * np.log2(share)))


FACTS: dict[str, Callable[[Image], float]] = {
    "brightness": lambda image: float(np.mean(image, dtype=np.float64)),
    "bytes": _bytes,
    "colour": lambda image: float(np.mean(np.std(image, axis=2, dtype=np.float64))),
    "contrast": lambda image: float(np.std(image, dtype=np.float64)),
    "detail": _detail,
    "edges": _edges,
    "entropy": _entropy,
    "first": lambda image: float(np.mean(image[..., 0], dtype=np.float64)),
    "last": lambda image: float(np.mean(image[..., -1], dtype=np.float64)),
    "saturated": lambda image: float(np.mean((image <= 0) | (image >= 1))),
}
"""Name of a column -> what it is of one image, in the order of the names."""
