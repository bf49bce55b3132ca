"""Noises at times, losses and means over them: what signals that draw noise share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Key, Scalar, ScalarLike
from score_mia.target import Denoiser


def noise_at(
    key: Key, draw: ScalarLike, t: ScalarLike, shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """Standard normal noise of one draw at one time of an image's key.

    Keyed by the time's bits and not by its place: a column is the same whichever other
    columns are asked for, and signals of one key share their noises.

    Args:
      key: of the image, or the one that all images have in common.
      draw: its number.
      t: a time, taken in float32.
      shape: of the noise.
    """
    bits = jax.lax.bitcast_convert_type(jnp.asarray(t, jnp.float32), jnp.uint32)
    own = jax.random.fold_in(jax.random.fold_in(key, draw), bits)
    return jax.random.normal(own, shape, jnp.float32)


def denoising_loss(
    model: Denoiser,
    x: Float[Array, "..."],
    t: ScalarLike,
    noise: Float[Array, "..."],
    condition: Any,
) -> Scalar:
    """Mean squared error of the predicted noise at one time: the loss in noise form.

    Args:
      model: whose parameters, and what is derived of them, may be differentiated.
      x: an image in the model's own space.
      t: the time.
      noise: what x is noised with, of its shape.
      condition: what the network is told, or None.
    """
    noisy = model.sde.perturb(x, t, noise)
    return jnp.mean((noise - model.eps(noisy, t, condition)) ** 2)


def over_draws(
    function: Callable[[Array, Array], Array],
    times: Float[np.ndarray, " k"],
    draws: int,
    chunk: int,
) -> Float[Array, "k draws ..."]:
    """`function(t, draw)` at every time and for every draw, so many at once."""
    pairs = (
        jnp.asarray(np.repeat(times, draws)),
        jnp.asarray(np.tile(np.arange(draws), len(times))),
    )
    found = chunked(lambda pair: function(*pair), pairs, chunk)
    return found.reshape(len(times), draws, *found.shape[1:])


def chunked(function: Callable[[Any], Array], rows: Any, chunk: int) -> Array:
    """`lax.map` in equal chunks: a remainder would compile the network twice."""
    count = len(jax.tree.leaves(rows)[0])
    size = chunk_size(count, chunk)
    places = jnp.minimum(jnp.arange(-(-count // size) * size), count - 1)
    padded = jax.tree.map(lambda leaf: leaf[places], rows)
    return jax.lax.map(function, padded, batch_size=size)[:count]


def chunk_size(count: int, most: int) -> int:
    """The size in [most/2, most] that wastes least on padding; the largest such."""
    sizes = range(max(1, min(most, count) // 2), min(most, count) + 1)
    return min(sizes, key=lambda size: (-count % size, -size))


LEAST = 1e-12
"""A size of which one may take the logarithm: that of an exact memory is 0."""


def log_size(size: Float[Array, "..."]) -> Float[Array, "..."]:
    """log max(size, `LEAST`)."""
    return jnp.log(jnp.maximum(size, LEAST))


def power(x: Float[Array, "..."], p: float) -> Float[Array, ""]:
    """sum |x|^p, the p-th power of the p-norm."""
    return jnp.sum(jnp.abs(x) ** p)
