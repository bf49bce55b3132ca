"""What many tests do with a signal and with a workdir."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from score_mia.attacks.protocol import Query
from score_mia.conditions import NULL, OWN
from score_mia.engine import view
from score_mia.rows import tiled
from score_mia.sampling.draw import draw_rows, require_finite


def ask(signal, target, image, key, condition=None, nothing=None):
    """Values and diagnostics [K + D] of one image, read off the view it may have."""
    given = {OWN: condition, NULL: nothing}
    conditions = {name: c for name, c in given.items() if c is not None}
    query = Query(image, conditions, key, key)
    return signal(view(target, signal.access), query, ()).flat()


def signal_folder(workdir: Path, name: str) -> Path:
    """The folder of a signal, whatever decided its numbers; there must be one."""
    (folder,) = (workdir / "signals").glob(f"{name}-" + "[0-9a-f]" * 12)
    return folder


def generate(
    model,
    seed,
    count,
    shape,
    sampler,
    *,
    first=0,
    batch=64,
    conditions=None,
    clip=True,
    devices=None,
):
    """Images first ... first + count, float32 [count, h, w, c], in memory."""
    rows = len(jax.local_devices()[:devices]) * batch

    def draw(ids):
        own = jax.tree.map(lambda a: np.asarray(a)[ids - first], conditions)
        return draw_rows(
            model, seed, ids, shape, sampler, devices=devices, conditions=own
        )

    images = tiled(draw, np.arange(first, first + count), rows)
    require_finite(images)
    return np.clip(images, 0.0, 1.0) if clip else images
