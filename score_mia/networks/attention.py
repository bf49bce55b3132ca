"""Attention in heads: every network's with more than one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def attend(
    q: Float[Array, "b q c"],
    k: Float[Array, "b k c"],
    v: Float[Array, "b k c"],
    heads: int,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    chunk: int = 0,
) -> Float[Array, "b q c"]:
    """Attention in heads of equal width, softmax in float32.

    Args:
      q, k, v: queries, keys, values.
      heads: how many.
      mask: broadcastable to [b, heads, q, k], True where a query sees a key; None where
        all do.
      bias: broadcastable to the same, added to the logits; None for none.
      chunk: so many queries at a time, which bounds the memory of the logits; 0 for
        all at once. A query's result is the same up to rounding.
    """
    batch, count, channels = q.shape
    width = channels // heads

    def apart(a: Array) -> Array:
        a = a.reshape(batch, a.shape[1], heads, width).transpose(0, 2, 1, 3)
        return a.reshape(batch * heads, -1, width)

    def together(a: Array) -> Array:
        a = a.reshape(batch, heads, -1, width).transpose(0, 2, 1, 3)
        return a.reshape(batch, -1, channels)

    keys, values = apart(k), apart(v)

    def some(q: Array) -> Array:
        # One batch of matrices, and the softmax divided by last: nine times as fast on
        # CPU as contractions over four axes, where heads are narrow.
        logits = jnp.einsum("bqc,bkc->bqk", apart(q), keys).astype(jnp.float32)
        logits = logits * np.float32(width**-0.5)
        if mask is not None or bias is not None:
            logits = _told(logits.reshape(batch, heads, *logits.shape[1:]), mask, bias)
            logits = logits.reshape(batch * heads, *logits.shape[2:])
        weights = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
        mixed = jnp.einsum("bqk,bkc->bqc", weights.astype(v.dtype), values)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        return together((mixed.astype(jnp.float32) / total).astype(v.dtype))

    if not chunk or chunk >= count or mask is not None or bias is not None:
        return some(q)
    pieces = -(-count // chunk)
    padded = jnp.pad(q, ((0, 0), (0, pieces * chunk - count), (0, 0)))
    padded = padded.reshape(batch, pieces, chunk, channels).swapaxes(0, 1)
    out = jax.lax.map(some, padded).swapaxes(0, 1)
    return out.reshape(batch, pieces * chunk, channels)[:, :count]


def _told(
    logits: Float[Array, "b h q k"], mask: Array | None, bias: Array | None
) -> Float[Array, "b h q k"]:
    if bias is not None:
        logits = logits + bias
    # Finite, so that a query that sees nothing is no NaN.
    return logits if mask is None else jnp.where(mask, logits, -1e9)
