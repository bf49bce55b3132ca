"""The front doors: one image, one image observed, many images, and DDIM inversion."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int

from score_mia.arrays import Image, Key
from score_mia.check import at_least, require
from score_mia.device import jit, mesh, size
from score_mia.rows import tiled
from score_mia.sampling.base import Observer, Row, Sampler, moves
from score_mia.sampling.samplers import Ddim
from score_mia.target import Denoiser


def sample(
    model: Denoiser,
    key: Key,
    shape: tuple[int, int, int],
    sampler: Sampler,
    condition: Any = None,
) -> Image:
    """One image of the target's distribution, decoded to [0, 1] but not clipped.

    Args:
      model: whose outputs are asked for.
      key: the only source of randomness.
      shape: (h, w, c).
      sampler: see `SAMPLERS`.
      condition: one row of what the network is conditioned on.
    """
    return trajectory(model, key, shape, sampler, None, condition)[0]


def trajectory(
    model: Denoiser,
    key: Key,
    shape: tuple[int, int, int],
    sampler: Sampler,
    observe: Observer | None,
    condition: Any = None,
) -> tuple[Image, Any]:
    """`sample`, and what `observe(x_t, denoised, t)` saw at each time on the way.

    x_t and denoised are in the target's space. The observations are stacked along a
    new first axis, from t1 down; with a corrector they are those before the
    predictor's move.
    """
    prior, noise = jax.random.split(key)
    start = jax.random.normal(prior, shape, jnp.float32)
    x = model.sde.std(model.sde.t1) * start
    x, seen = sampler.run(model, x, noise, condition, observe)
    return model.codec.decode(x), seen


def encode(
    model: Denoiser, image: Image, sampler: Ddim, condition: Any = None
) -> Image:
    """DDIM inversion: the latent x at t1 that a deterministic `decode` leads back from.

    Song et al. 2021a, Eq. 13, run upwards on the sampler's times: dy = eps ds in
    y = x/alpha, s = std/alpha, with eps predicted at the state before each move. The
    round trip's error is of first order in the step.
    """
    _deterministic(sampler)
    rows = moves(model.sde, sampler.times(model.sde))
    x = model.codec.encode(image)

    def up(y: Image, row: Row) -> tuple[Image, None]:
        # The move from `to` up to t, at t's label: at the bottom the network has no
        # other for a clean image.
        t = jnp.where(row.clean, row.t, row.t - row.dt)
        eps = model.eps(row.to_alpha * y, t, condition)
        return y + (row.std / row.alpha - row.to_std / row.to_alpha) * eps, None

    y, _ = jax.lax.scan(up, x, rows, reverse=True)
    return rows.alpha[0] * y


def decode(
    model: Denoiser, latent: Image, sampler: Ddim, condition: Any = None
) -> Image:
    """The image in [0, 1] (unclipped) that deterministic DDIM makes of x at t1."""
    _deterministic(sampler)
    x, _ = sampler.run(model, latent, jax.random.key(0), condition)
    return model.codec.decode(x)


def _deterministic(sampler: Ddim) -> None:
    require(
        sampler.eta == 0.0,
        f"eta={sampler.eta!r}",
        "adds noise, which no inversion can undo",
        "give eta=0",
    )


@functools.lru_cache(maxsize=32)
def _program(
    sampler: Sampler, shape: tuple[int, int, int], devices: int, parameters: int
) -> Callable:
    def rows(model: Denoiser, key: Key, ids: Array, conditions: Any) -> Array:
        def row(i: Array, condition: Any) -> Image:
            own = jax.random.fold_in(key, i)
            return sample(model, own, shape, sampler, condition)

        return jax.vmap(row)(ids, conditions)

    everywhere, split = PartitionSpec(), PartitionSpec("data")
    return jit(
        jax.shard_map(
            rows,
            mesh=mesh(devices),
            in_specs=(everywhere, everywhere, split, split),
            out_specs=split,
            check_vma=False,
        ),
        parameters=parameters,
    )


def generate(
    model: Denoiser,
    seed: int,
    count: int,
    shape: tuple[int, int, int],
    sampler: Sampler,
    *,
    first: int = 0,
    batch: int = 64,
    conditions: Any = None,
    clip: bool = True,
    devices: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Float[np.ndarray, "count h w c"]:
    """Many images, float32 [count, h, w, c] in [0, 1]; image i depends on (seed, i).

    Args:
      model, shape, sampler: as in `sample`.
      seed: of all images; image i has the key fold_in(key(seed), i), whatever the
        batch, the count and the devices (up to float rounding).
      count: number of images.
      first: number of the first image.
      batch: images per device and call.
      conditions: pytree of arrays [count, ...], or None.
      clip: to [0, 1].
      devices: of this process; all by default.
      progress: called with (images done, count) after each batch.

    Raises:
      UserError: the network's output stopped being finite.
    """
    at_least("count", count, 1)
    at_least("first", first, 0)
    at_least("batch", batch, 1)
    width = len(jax.local_devices()[:devices])
    rows, done = width * min(batch, -(-count // width)), 0

    def draw(ids: np.ndarray) -> Array:
        told = jax.tree.map(lambda a: np.asarray(a)[ids - first], conditions)
        return draw_rows(
            model, seed, ids, shape, sampler, devices=devices, conditions=told
        )

    def drawn(images: np.ndarray) -> None:
        nonlocal done
        done += len(images)
        if progress is not None:
            progress(done, count)

    images = tiled(draw, np.arange(first, first + count), rows, drawn)
    require_finite(images)
    return np.clip(images, 0.0, 1.0) if clip else images


def draw_rows(
    model: Denoiser,
    seed: int,
    ids: Int[np.ndarray, " n"],
    shape: tuple[int, int, int],
    sampler: Sampler,
    *,
    devices: int | None,
    conditions: Any = None,
) -> Float[Array, "n h w c"]:
    """The images of these numbers, unclipped, by one call that is not waited for.

    Args:
      model, seed, shape, sampler, devices: as in `generate`.
      ids: numbers of the images, a multiple of the number of devices of them.
      conditions: pytree of arrays [n, ...], or None.
    """
    width = len(jax.local_devices()[:devices])
    program = _program(sampler, tuple(shape), width, size(model))
    told = jax.tree.map(np.asarray, conditions)
    return program(model, jax.random.key(seed), ids.astype(np.uint32), told)


def require_finite(images: Float[np.ndarray, "n h w c"]) -> None:
    """Refuse what a diverged target draws."""
    bad = int(np.sum(~np.isfinite(images).all(axis=(1, 2, 3))))
    require(
        bad == 0,
        "samples",
        f"{bad} of {len(images)} hold NaN or infinite values",
        "train the target longer, or give the sampler more steps",
    )
