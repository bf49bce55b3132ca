"""Layers of latent models that others trained, NHWC, named as their files name them.

Attributes are called as in diffusers and transformers, so that one rule finds every
weight (`interop.keys`). Softmax is always float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from score_mia.networks.attention import attend
from score_mia.networks.layers import Conv, Dense, Draws, GroupNorm
from score_mia.networks.resample import Double, Halve

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(np.float32(1.702).astype(x.dtype) * x),
}


class Nothing(nnx.Module):
    """In the place of a layer without weights, so that the next has its number."""


class Attention(nnx.Module):
    """Self-attention, or attention to a context of another width.

    Attributes:
      group_norm: before it, in the autoencoder; else None.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        draws: Draws,
        *,
        context: int | None = None,
        bias: bool = False,
        norm: GroupNorm | None = None,
        chunk: int = 0,
    ):
        told = context or width
        self.group_norm: Any = norm
        self.to_q = Dense(width, width, draws, bias=bias)
        self.to_k = Dense(told, width, draws, bias=bias)
        self.to_v = Dense(told, width, draws, bias=bias)
        self.to_out = nnx.List([Dense(width, width, draws)])
        self.heads, self.chunk = heads, chunk

    def __call__(
        self, x: Float[Array, "b q c"], context: Float[Array, "b k d"] | None = None
    ) -> Float[Array, "b q c"]:
        """What each place gathers."""
        given = x if context is None else context
        q, k, v = self.to_q(x), self.to_k(given), self.to_v(given)
        return self.to_out[0](attend(q, k, v, self.heads, chunk=self.chunk))

    def over_pixels(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """x, plus what each pixel gathers from all, after the normalisation."""
        b, h, w, c = x.shape
        return x + self(self.group_norm(x).reshape(b, h * w, c)).reshape(x.shape)


class ResnetBlock(nnx.Module):
    """Two convolutions with a residual connection, told of the time if there is one."""

    def __init__(
        self,
        inp: int,
        out: int,
        draws: Draws,
        *,
        groups: int,
        eps: float,
        told: int | None = None,
    ):
        self.norm1 = GroupNorm(inp, groups, eps)
        self.conv1 = Conv(inp, out, draws)
        self.time_emb_proj: Any = None if told is None else Dense(told, out, draws)
        self.norm2 = GroupNorm(out, groups, eps)
        self.conv2 = Conv(out, out, draws)
        self.conv_shortcut: Any = Dense(inp, out, draws) if inp != out else None

    def __call__(
        self, x: Float[Array, "b h w i"], time: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b h w o"]:
        """The block's features."""
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        if self.time_emb_proj is not None:
            assert time is not None
            h = h + self.time_emb_proj(jax.nn.silu(time))[:, None, None, :]
        h = self.conv2(jax.nn.silu(self.norm2(h)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))


def halving(width: int, draws: Draws, pad: tuple[int, int]) -> Halve:
    """Half the resolution, by a convolution with these zeros before and after."""
    return Halve(width, width, draws, conv=True, fir=(), form="direct", pad=pad)


def doubling(width: int, draws: Draws) -> Double:
    """Twice the resolution, each pixel repeated, then a convolution."""
    return Double(width, width, draws, conv=True, fir=(), form="direct")


class Table(nnx.Module):
    """One learned vector for each number."""

    def __init__(self, rows: int, width: int, draws: Draws):
        self.embedding = nnx.Param(0.02 * draws.uniform((rows, width)))

    def __call__(self, numbers: Int[Array, "..."]) -> Float[Array, "... d"]:
        """The vectors of these numbers."""
        return jnp.take(self.embedding[...], numbers, axis=0)


class TimeEmbedding(nnx.Module):
    """What the blocks are told of the time: two layers on its waves."""

    def __init__(self, inp: int, out: int, draws: Draws):
        self.linear_1, self.linear_2 = Dense(inp, out, draws), Dense(out, out, draws)

    def __call__(self, waves: Float[Array, "b i"]) -> Float[Array, "b o"]:
        """The embedding."""
        return self.linear_2(jax.nn.silu(self.linear_1(waves)))


class FeedForward(nnx.Module):
    """A hidden layer of four times the width, gated by another (Shazeer 2020, GEGLU).

    The hidden half comes first, the gate second, with the exact GELU.
    """

    def __init__(self, width: int, draws: Draws):
        self.net = nnx.List(
            [_Gated(width, draws), Nothing(), Dense(4 * width, width, draws)]
        )

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """The layer's output."""
        return self.net[2](self.net[0](x))


class _Gated(nnx.Module):
    def __init__(self, width: int, draws: Draws):
        self.proj = Dense(width, 8 * width, draws)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n h"]:
        hidden, gate = jnp.split(self.proj(x), 2, axis=-1)
        return hidden * ACTIVATIONS["gelu"](gate)
