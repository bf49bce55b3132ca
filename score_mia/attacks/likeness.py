"""How alike two images are: in pixels, in structure, in an encoder's features.

Every measure is larger the more alike they are, so that "more like what the model
makes of it" and "more member-like" point the same way in every attack.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from score_mia.check import extra, require

SIMILARITIES = ("cosine", "l1", "l2", "hamming")

_MOST_DB = 100.0
"""Of equal images, whose PSNR is infinite: no pair of 8-bit images comes near."""

Images = Float[np.ndarray, "n h w c"]


def token_similarity(
    a: Float[np.ndarray, "... d"], b: Float[np.ndarray, "... d"], kind: str
) -> Float[np.ndarray, " ..."]:
    """How alike two feature vectors are, token by token (Pang & Wang, 2312.08207).

    "cosine"; minus the mean absolute ("l1") or the Euclidean ("l2") distance; minus
    the bits that differ once features are cut to integers ("hamming": as their code
    has it, which sees features below 1 as equal).
    """
    if kind == "cosine":
        size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        return np.sum(a * b, axis=-1) / np.maximum(size, 1e-12)
    if kind == "l1":
        return -np.mean(np.abs(a - b), axis=-1)
    if kind == "l2":
        return -np.linalg.norm(a - b, axis=-1)
    bits = a.astype(np.int32) ^ b.astype(np.int32)
    return -np.mean(np.bitwise_count(bits.view(np.uint32)), axis=-1)


def psnr(a: Images, b: Images) -> Float[np.ndarray, " n"]:
    """Peak signal-to-noise ratio of images in [0, 1], in dB: 10 log10(1 / MSE)."""
    error = np.mean((a - b) ** 2, axis=(1, 2, 3))
    return -10 * np.log10(np.maximum(error, 10 ** (-_MOST_DB / 10)))


def minus_rmse(a: Images, b: Images) -> Float[np.ndarray, " n"]:
    """Minus the root of the mean squared difference."""
    return -np.sqrt(np.mean((a - b) ** 2, axis=(1, 2, 3)))


def minus_mae(a: Images, b: Images) -> Float[np.ndarray, " n"]:
    """Minus the mean absolute difference."""
    return -np.mean(np.abs(a - b), axis=(1, 2, 3))


def minus_dssim(a: Images, b: Images) -> Float[np.ndarray, " n"]:
    """Minus the structural dissimilarity (1 - SSIM) / 2 of images in [0, 1].

    Wang et al. 2004 with scikit-image's uniform window of 7 pixels, or the largest odd
    one that the images hold.
    """
    from skimage.metrics import structural_similarity

    side = min(7, a.shape[1], a.shape[2])
    side -= 1 - side % 2
    require(side >= 3, f"images of shape {a.shape[1:]}", "are too small", "give 3 x 3")
    how = {"win_size": side, "data_range": 1.0, "channel_axis": -1}
    each = [structural_similarity(x, y, **how) for x, y in zip(a, b, strict=True)]
    return (np.asarray(each) - 1) / 2


def require_skimage(thing: str) -> None:
    """Refuse what needs scikit-image where it is not installed."""
    from importlib.util import find_spec

    there = find_spec("skimage") is not None
    require(there, thing, "needs scikit-image", extra("images"))


DISTANCES = {"psnr": psnr, "dssim": minus_dssim, "rmse": minus_rmse}
"""Name of a distance between pictures -> what is minus it (PSNR as it is)."""


def blurred(images: Float[np.ndarray, "... h w c"], radius: int) -> np.ndarray:
    """The mean over a square of 2 radius + 1 pixels, its border repeated outwards."""
    from scipy.ndimage import uniform_filter

    if radius == 0:
        return images
    size = 2 * radius + 1
    return uniform_filter(images, size, mode="nearest", axes=(-3, -2))
