"""Samples on disk: drawn once, in parts, and gone on with after a kill.

    folder/manifest.json        what was drawn: target, sampler, seed, tile
    folder/part-00000064.npz    ids and images of one call, named by its first number,
                                and a digest of what the manifest says

Image i depends on (target, sampler, seed, i) alone and is always computed in a call of
the same size, so that neither a kill nor a larger count asked for later changes a bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from score_mia.check import at_least, require
from score_mia.files import json_digest, keep_manifest, load_npz, save_npz
from score_mia.progress import Progress
from score_mia.sampling.base import Sampler
from score_mia.sampling.draw import draw_rows, require_finite
from score_mia.target import Denoiser


def generate_kept(
    folder: str | Path,
    model: Denoiser,
    seed: int,
    count: int,
    shape: tuple[int, int, int],
    sampler: Sampler,
    *,
    first: int = 0,
    tile: int = 16,
    conditions: Any = None,
    devices: int | None = None,
    facts: Mapping[str, Any] | None = None,
    label: str = "sample",
) -> UInt8[np.ndarray, "count h w c"]:
    """`generate`, with every part kept in `folder`; only missing images are drawn.

    Args:
      folder: where parts and the manifest are kept.
      model, seed, count, shape, sampler, first, devices: as in `generate`.
      tile: images per device and call. A part is the images of one call.
      conditions: pytree of arrays [count, ...], or None.
      facts: JSON values that identify the result, above all the target's digest.
      label: name shown with the progress.

    Returns:
      The images as a picture file has them, 8 bits.

    Raises:
      UserError: the folder holds other samples or a damaged part, it cannot be
        written, or the network's output stopped being finite.
    """
    at_least("count", count, 1)
    at_least("first", first, 0)
    at_least("tile", tile, 1)
    folder = Path(folder)
    about = {"sampler": repr(sampler), "seed": seed, "tile": tile, **(facts or {})}
    keep_manifest(folder, "samples", about, write=jax.process_index() == 0)
    rows = tile * len(jax.local_devices()[:devices])
    wanted = np.arange(first, first + count)
    mine = wanted[wanted // rows % jax.process_count() == jax.process_index()]
    made = json_digest(about)
    held = _held(folder, shape, made)
    missing = mine[~np.isin(mine, list(held))]
    if len(missing):
        done = len(mine) - len(missing)
        with Progress(label, len(mine), "images", done) as progress:
            for part in np.unique(missing // rows):
                ids = missing[missing // rows == part]
                told = jax.tree.map(
                    lambda a, at=ids: np.asarray(a)[at - first], conditions
                )
                drawn = draw_rows(model, seed, ids, shape, sampler, rows, devices, told)
                require_finite(drawn)
                held |= zip(ids.tolist(), as_picture(drawn), strict=True)
                numbers = sorted(i for i in held if i // rows == part)
                save_npz(
                    folder / f"part-{part * rows:08d}.npz",
                    ids=np.asarray(numbers),
                    images=np.stack([held[i] for i in numbers]),
                    made=np.asarray(made),
                )
                progress.advance(len(ids))
    if jax.process_count() > 1:
        _wait_for_other_hosts()
        held = _held(folder, shape, made)
    return np.stack([held[i] for i in wanted.tolist()])


def as_picture(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] (clipped) as 8 bits."""
    return np.rint(255 * np.clip(images, 0.0, 1.0)).astype(np.uint8)


def _wait_for_other_hosts() -> None:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices("score_mia.sampling.kept")


def _held(
    folder: Path, shape: tuple[int, int, int], made: str
) -> dict[int, np.ndarray]:
    """Every image of the folder by its number."""
    held: dict[int, np.ndarray] = {}
    remedy = "delete it and run again: only its samples are drawn again"
    for path in sorted(folder.glob("part-*.npz")):
        part = load_npz(path, ("ids", "images", "made"), remedy=remedy)
        images, ids = part["images"], part["ids"]
        require(
            images.shape == (*ids.shape, *shape) and images.dtype == np.uint8,
            str(path),
            f"holds {images.dtype} {images.shape}, not images of {shape}",
            remedy,
        )
        require(
            str(part["made"]) == made,
            str(path),
            "holds samples of another target or sampler than its folder's manifest.json"
            " names",
            remedy,
        )
        held |= zip(ids.tolist(), images, strict=True)
    return held
