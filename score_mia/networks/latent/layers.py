"""Layers of latent models that others trained, NHWC, named as their files name them.

Attributes are called as in diffusers and transformers, so that one rule finds every
weight (`interop.keys`). Numbers are computed in the type of the input, whatever the
weights are stored in; means, variances and softmax are always float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from score_mia.networks.convolution import convolve
from score_mia.networks.layers import Draws, along_last, normalised
from score_mia.networks.resample import double

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(np.float32(1.702).astype(x.dtype) * x),
}


class Linear(nnx.Module):
    """A linear map of the last axis; on images a 1x1 convolution."""

    def __init__(self, inp: int, out: int, draws: Draws, *, bias: bool = True):
        self.kernel = nnx.Param(draws.scaled((inp, out)))
        self.bias: Any = nnx.Param(jnp.zeros((out,))) if bias else None

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        """x times the kernel, plus the bias if there is one."""
        kernel = self.kernel[...].astype(x.dtype)
        y = jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
        if self.bias is None:
            return y
        return y + along_last(self.bias[...].astype(x.dtype), y.ndim)


class Conv(nnx.Module):
    """A 3x3 convolution.

    Attributes:
      stride: 1, or 2 to halve the image.
      pad: zeros before and after either axis: (1, 1), or (0, 1) as the autoencoder's
        encoder has it where it halves.
    """

    def __init__(
        self,
        inp: int,
        out: int,
        draws: Draws,
        *,
        stride: int = 1,
        pad: tuple[int, int] = (1, 1),
    ):
        self.kernel = nnx.Param(draws.scaled((3, 3, inp, out)))
        self.bias = nnx.Param(jnp.zeros((out,)))
        self.stride, self.pad = stride, pad

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """The convolved images."""
        kernel = self.kernel[...].astype(x.dtype)
        y = convolve(x, kernel, self.stride, self.pad, "direct")
        return y + along_last(self.bias[...].astype(x.dtype), 4)


class GroupNorm(nnx.Module):
    """Group normalisation with an eps of one's own (Wu & He 2018)."""

    def __init__(self, channels: int, groups: int, eps: float):
        self.scale = nnx.Param(jnp.ones((channels,)))
        self.bias = nnx.Param(jnp.zeros((channels,)))
        self.groups, self.eps = groups, eps

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """x normalised over each group of its channels, scaled and shifted."""
        b, h, w, c = x.shape
        grouped = x.astype(jnp.float32).reshape(b, h * w, self.groups, -1)
        mean = jnp.mean(grouped, axis=(1, 3), keepdims=True)
        centred = grouped - mean
        variance = jnp.mean(centred * centred, axis=(1, 3), keepdims=True)
        y = (centred * jax.lax.rsqrt(variance + self.eps)).reshape(b, h, w, c)
        scale, bias = (v[...].astype(jnp.float32) for v in (self.scale, self.bias))
        return (y * along_last(scale, 4) + along_last(bias, 4)).astype(x.dtype)


class LayerNorm(nnx.Module):
    """Normalisation of the last axis, scaled and shifted (Ba et al. 2016)."""

    def __init__(self, width: int, eps: float = 1e-5):
        self.scale = nnx.Param(jnp.ones((width,)))
        self.bias = nnx.Param(jnp.zeros((width,)))
        self.eps = eps

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        """x normalised, scaled and shifted."""
        y = normalised(x.astype(jnp.float32), self.eps)
        scale, bias = (v[...].astype(jnp.float32) for v in (self.scale, self.bias))
        y = y * along_last(scale, y.ndim) + along_last(bias, y.ndim)
        return y.astype(x.dtype)


class Nothing(nnx.Module):
    """In the place of a layer without weights, so that the next has its number."""


def attend(
    q: Float[Array, "b q c"],
    k: Float[Array, "b k c"],
    v: Float[Array, "b k c"],
    heads: int,
    *,
    mask: Array | None = None,
    chunk: int = 0,
) -> Float[Array, "b q c"]:
    """Attention in heads of equal width, softmax in float32.

    Args:
      q, k, v: queries, keys, values.
      heads: how many.
      mask: [q, k], True where a query sees a key; None where all do.
      chunk: so many queries at a time, which bounds the memory of the logits; 0 for
        all at once. A query's result is the same up to rounding.
    """
    b, count, c = q.shape
    q, k, v = (a.reshape(b, a.shape[1], heads, c // heads) for a in (q, k, v))
    scale = np.float32((c // heads) ** -0.5)

    def some(q: Array, mask: Array | None) -> Array:
        logits = jnp.einsum("bqhd,bkhd->bhqk", q, k).astype(jnp.float32) * scale
        if mask is not None:
            logits = jnp.where(mask[None, None], logits, -jnp.inf)
        weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
        return jnp.einsum("bhqk,bkhd->bqhd", weights, v)

    if not chunk or chunk >= count or mask is not None:
        return some(q, mask).reshape(b, count, c)
    pieces = -(-count // chunk)
    padded = jnp.pad(q, ((0, 0), (0, pieces * chunk - count), (0, 0), (0, 0)))
    padded = padded.reshape(b, pieces, chunk, heads, c // heads).swapaxes(0, 1)
    out = jax.lax.map(lambda piece: some(piece, None), padded)
    return out.swapaxes(0, 1).reshape(b, pieces * chunk, c)[:, :count]


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
        self.to_q = Linear(width, width, draws, bias=bias)
        self.to_k = Linear(told, width, draws, bias=bias)
        self.to_v = Linear(told, width, draws, bias=bias)
        self.to_out = nnx.List([Linear(width, width, draws)])
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
        self.time_emb_proj: Any = None if told is None else Linear(told, out, draws)
        self.norm2 = GroupNorm(out, groups, eps)
        self.conv2 = Conv(out, out, draws)
        self.conv_shortcut: Any = Linear(inp, out, draws) if inp != out else None

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


class Downsample(nnx.Module):
    """Half the resolution, by a convolution."""

    def __init__(self, width: int, draws: Draws, pad: tuple[int, int]):
        self.conv = Conv(width, width, draws, stride=2, pad=pad)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """x at half its size."""
        return self.conv(x)


class Upsample(nnx.Module):
    """Twice the resolution, each pixel repeated, then a convolution."""

    def __init__(self, width: int, draws: Draws):
        self.conv = Conv(width, width, draws)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        """x at twice its size."""
        return self.conv(double(x, ()))


class FeedForward(nnx.Module):
    """A hidden layer of four times the width, gated by another (Shazeer 2020, GEGLU).

    The hidden half comes first, the gate second, with the exact GELU.
    """

    def __init__(self, width: int, draws: Draws):
        self.net = nnx.List(
            [_Gated(width, draws), Nothing(), Linear(4 * width, width, draws)]
        )

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        """The layer's output."""
        return self.net[2](self.net[0](x))


class _Gated(nnx.Module):
    def __init__(self, width: int, draws: Draws):
        self.proj = Linear(width, 8 * width, draws)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n h"]:
        hidden, gate = jnp.split(self.proj(x), 2, axis=-1)
        return hidden * ACTIVATIONS["gelu"](gate)
