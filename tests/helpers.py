"""What many tests do with a signal and with a workdir."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks.protocol import Elsewhere, HostQuery, Query, Reading
from score_mia.checkpoint import save_target
from score_mia.conditions import NULL, OWN
from score_mia.engine import view
from score_mia.rows import tiled
from score_mia.sampling.draw import draw_rows, require_finite
from score_mia.sde import SDES
from score_mia.spec import parts


def slow(*values):
    """A case whose sibling tells the same in less time: run with --slow."""
    return pytest.param(*values, marks=pytest.mark.slow)


def moved(params, by, seed):
    """Fresh parameters end in almost-zero layers; here every layer counts."""
    rng = np.random.default_rng(seed)  # jax.random would be compiled for each shape

    def one(leaf):
        return leaf + jnp.asarray(by * rng.standard_normal(leaf.shape), leaf.dtype)

    return jax.tree.map(one, params)


def ask(signal, target, image, key, condition=None, nothing=None):
    """Values and diagnostics [K + D] of one image, read off the view it may have."""
    given = {OWN: condition, NULL: nothing}
    conditions = {name: c for name, c in given.items() if c is not None}
    query = Query(image, conditions, key, key)
    made = products_of(signal, image, key, condition, nothing)
    return Reading(*signal(view(target, signal.access), query, made)).flat()


def products_of(signal, image, key, condition=None, nothing=None):
    """One image's row of each product that a signal needs, if none asks the target."""
    return tuple(_product(p, image, key, condition, nothing) for p in signal.needs)


def _product(product, image, key, condition, nothing):
    if isinstance(product, Elsewhere):
        other = product.model()
        row = ask(product.signal, other, image, key, condition, nothing)
        seen = view(other, product.signal.access)
        count = len(product.signal.columns(seen).names)
        return {"values": row[:count], "diagnostics": row[count:]}
    assert product.access == "none"
    query = HostQuery(np.asarray(image)[None], None, np.zeros(1, int), np.zeros(1, int))
    return {name: jnp.asarray(a[0]) for name, a in product.batch(None, query).items()}


@functools.cache
def kept_model(sde, seed=0, shape=(4, 4, 1)):
    """The folder of an untrained network of a process, until the tests end."""
    name = next(name for name, part in SDES.items() if type(sde) is part)
    fields = {f.name: getattr(sde, f.name) for f in dataclasses.fields(sde)}
    spec = {
        "sde": {"name": name, **fields},
        "network": {"name": "mlp", "features": 8, "blocks": 1},
        "parameterisation": {"name": "noise"},
        "codec": {"name": "affine"},
        "shape": list(shape),
    }
    params = parts(spec).network.init(jax.random.key(seed))
    folder = Path(_KEPT.name) / f"{name}-{seed}-{len(list(Path(_KEPT.name).iterdir()))}"
    save_target(folder, spec, params, params, {"step": 0, "members": 0})
    return str(folder)


_KEPT = tempfile.TemporaryDirectory(prefix="score-mia-kept-")


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
