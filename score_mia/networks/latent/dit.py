"""Diffusion transformers: DiT (Peebles & Xie 2023, 2212.09748) and SiT (2401.08740).

Patches of the latent are tokens with fixed positions. What the network is told (time
and class) shifts, scales and gates every layer (adaLN-Zero), so that a new network says
nothing at all. DiT and SiT are one network: noise and a discrete process make it the
one, the velocity of a flow makes it the other. Attributes are named as in diffusers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from score_mia.arrays import Key
from score_mia.check import at_least, one_of, require
from score_mia.networks.latent.layers import (
    ACTIVATIONS,
    Attention,
    Nothing,
    Table,
    TimeEmbedding,
)
from score_mia.networks.layers import (
    Dense,
    Draws,
    Dropout,
    along_last,
    normalised,
    sinusoids,
)
from score_mia.networks.network import (
    COMPUTES,
    Compute,
    Network,
    Shape,
    functional,
    take_condition,
)

_WAVES = 256


@dataclasses.dataclass(frozen=True)
class DiT:
    """Specification of a diffusion transformer; the defaults are DiT-XL/2's.

    Attributes:
      width, heads, layers: of the transformer.
      patch: side of the square that is one token.
      classes: rows of the table of classes, the null class (the last) included where
        the network knows one (`conditions.Label(nothing=...)`); 0 for none.
      shared: one embedding of time and class for all layers, as published; else each
        layer has its own, as in diffusers' files.
      grid: side in tokens of the grid that positions count on; 0 for that of x.
      freq_shift: of the time's embedding: 0 as published, 1 in diffusers.
      learned_variance: the network predicts a variance too, which nothing here reads.
      eps: of the normalisation before the perceptrons.
      bias: whether queries, keys and values have one.
      activation: of the perceptrons.
      dropout: after attention and inside the perceptrons.
      compute: in what it multiplies; see `network.Compute`.
      attention_chunk: queries at a time; 0 for all at once.
    """

    width: int = 1152
    heads: int = 16
    layers: int = 28
    patch: int = 2
    classes: int = 0
    shared: bool = True
    grid: int = 0
    freq_shift: int = 0
    learned_variance: bool = False
    eps: float = 1e-6
    bias: bool = True
    activation: str = "gelu_tanh"
    dropout: float = 0.0
    compute: Compute = "float32"
    attention_chunk: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "heads", "layers", "patch"):
            at_least(name, getattr(self, name), 1)
        for name in ("classes", "grid", "attention_chunk"):
            at_least(name, getattr(self, name), 0)
        one_of("activation", self.activation, ACTIVATIONS)
        one_of("compute", self.compute, COMPUTES)
        ok = self.width % self.heads == 0 and self.width % 4 == 0
        problem = f"does not divide the width {self.width}, or 4 does not"
        remedy = "give heads that divide it, and a width that 4 divides"
        require(ok, f"heads={self.heads}", problem, remedy)

    def module(self, shape: Shape, draws: Draws) -> Any:
        """A new module for x of this shape."""
        return _Transformer(self, shape, draws)

    def build(self, shape: Iterable[int]) -> Network:
        """The network for x of shape (height, width, channels).

        Raises:
          UserError: the patches do not fill the shape.
        """
        return functional(self, shape)


class _Transformer(nnx.Module):
    def __init__(self, spec: DiT, shape: Shape, draws: Draws):
        height, width, channels = shape
        p = spec.patch
        ok = height % p == 0 and width % p == 0
        problem = f"cannot be cut into patches of {p}x{p}"
        remedy = "resize the images, or give another patch"
        require(ok, f"x of {height}x{width}", problem, remedy)
        self.spec, self.shape, self.places = spec, shape, (height // p, width // p)
        self.pos_embed = _Patches(p, channels, spec.width, draws)
        self.emb: Any = _Told(spec, draws) if spec.shared else None
        blocks = [_Block(spec, draws) for _ in range(spec.layers)]
        self.transformer_blocks = nnx.List(blocks)
        self.proj_out_1 = _zero(spec.width, 2 * spec.width, draws)
        out = p * p * channels * (1 + spec.learned_variance)
        self.proj_out_2 = _zero(spec.width, out, draws)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"],
        condition: Int[Array, " b"] | None,
        dropout_key: Key | None,
    ) -> Float[Array, "b h w c"]:
        spec, dtype = self.spec, jnp.dtype(self.spec.compute)
        take_condition(condition, spec.classes)
        h = self.pos_embed(x.astype(dtype))
        h = h + jnp.asarray(positions(self.places, spec.width, spec.grid), dtype)[None]
        drop = Dropout(spec.dropout, dropout_key)
        shared = None if self.emb is None else self.emb(label, condition, dtype)
        for block in self.transformer_blocks:
            h = block(h, label, condition, shared, drop)
        # Of several embeddings the first layer's also says how the last one is shifted.
        if shared is None:
            shared = self.transformer_blocks[0].norm1.emb(label, condition, dtype)
        last = self.proj_out_1(jax.nn.silu(shared)).astype(x.dtype)
        shift, scale = jnp.split(last, 2, axis=-1)
        h = self.proj_out_2(_modulated(h.astype(x.dtype), shift, scale, 1e-6))
        return self.image(h).astype(x.dtype)

    def image(self, h: Float[Array, "b n o"]) -> Float[Array, "b h w c"]:
        """Tokens as patches again; of what was predicted, the mean."""
        (rows, columns), p, (height, width, channels) = (
            self.places,
            self.spec.patch,
            self.shape,
        )
        h = h.reshape(len(h), rows, columns, p, p, -1).swapaxes(2, 3)
        return h.reshape(len(h), height, width, -1)[..., :channels]


class _Patches(nnx.Module):
    def __init__(self, patch: int, channels: int, width: int, draws: Draws):
        self.proj = _PatchConv(patch, channels, width, draws)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b n d"]:
        return self.proj(x)


class _PatchConv(nnx.Module):
    """A convolution whose stride is its side: a matrix on each patch."""

    def __init__(self, patch: int, channels: int, width: int, draws: Draws):
        self.kernel = nnx.Param(draws.scaled((patch, patch, channels, width)))
        self.bias = nnx.Param(jnp.zeros((width,)))
        self.patch = patch

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b n d"]:
        b, h, w, c = x.shape
        p, kernel = self.patch, self.kernel[...].astype(x.dtype)
        x = x.reshape(b, h // p, p, w // p, p, c).swapaxes(2, 3)
        y = x.reshape(b, -1, p * p * c) @ kernel.reshape(p * p * c, -1)[None]
        return y + along_last(self.bias[...].astype(x.dtype), 3)


class _Told(nnx.Module):
    """The vector that says time and class."""

    def __init__(self, spec: DiT, draws: Draws):
        self.timestep_embedder = TimeEmbedding(_WAVES, spec.width, draws)
        table = _Classes(spec.classes, spec.width, draws) if spec.classes else None
        self.class_embedder: Any = table
        self.freq_shift = spec.freq_shift

    def __call__(
        self, label: Float[Array, " b"], condition: Int[Array, " b"] | None, dtype: Any
    ) -> Float[Array, "b d"]:
        waves = sinusoids(label.astype(jnp.float32), _WAVES, "cos_sin", self.freq_shift)
        told = self.timestep_embedder(waves.astype(dtype))
        if self.class_embedder is None or condition is None:
            return told
        return told + self.class_embedder(condition).astype(dtype)


class _Classes(nnx.Module):
    def __init__(self, classes: int, width: int, draws: Draws):
        self.embedding_table = Table(classes, width, draws)

    def __call__(self, condition: Int[Array, " b"]) -> Float[Array, "b d"]:
        return self.embedding_table(condition)


class _Block(nnx.Module):
    def __init__(self, spec: DiT, draws: Draws):
        self.norm1 = _Modulation(spec, draws)
        self.attn1 = Attention(
            spec.width, spec.heads, draws, bias=spec.bias, chunk=spec.attention_chunk
        )
        self.ff = _FeedForward(spec, draws)
        self.eps = spec.eps

    def __call__(
        self,
        h: Float[Array, "b n d"],
        label: Float[Array, " b"],
        condition: Int[Array, " b"] | None,
        told: Float[Array, "b d"] | None,
        drop: Dropout,
    ) -> Float[Array, "b n d"]:
        if told is None:
            told = self.norm1.emb(label, condition, h.dtype)
        parts = self.norm1.linear(jax.nn.silu(told))
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.split(parts, 6, -1)
        seen = drop(self.attn1(_modulated(h, shift_1, scale_1, 1e-6)))
        h = h + gate_1[:, None] * seen
        seen = self.ff(_modulated(h, shift_2, scale_2, self.eps), drop)
        return h + gate_2[:, None] * seen


class _Modulation(nnx.Module):
    """Shift, scale and gate of both halves of a layer, of what the network is told."""

    def __init__(self, spec: DiT, draws: Draws):
        self.emb: Any = None if spec.shared else _Told(spec, draws)
        self.linear = _zero(spec.width, 6 * spec.width, draws)


class _FeedForward(nnx.Module):
    def __init__(self, spec: DiT, draws: Draws):
        first, last = _Projected(spec, draws), Dense(4 * spec.width, spec.width, draws)
        self.net = nnx.List([first, Nothing(), last])
        self.act: Any = ACTIVATIONS[spec.activation]

    def __call__(self, h: Float[Array, "b n d"], drop: Dropout) -> Array:
        return self.net[2](drop(self.act(self.net[0](h))))


class _Projected(nnx.Module):
    def __init__(self, spec: DiT, draws: Draws):
        self.proj = Dense(spec.width, 4 * spec.width, draws)

    def __call__(self, h: Float[Array, "b n d"]) -> Float[Array, "b n e"]:
        return self.proj(h)


def _zero(inp: int, out: int, draws: Draws) -> Dense:
    """A map that says nothing at first."""
    made = Dense(inp, out, draws)
    made.kernel = nnx.Param(jnp.zeros((inp, out)))
    return made


def _modulated(
    h: Float[Array, "b n d"],
    shift: Float[Array, "b d"],
    scale: Float[Array, "b d"],
    eps: float,
) -> Float[Array, "b n d"]:
    """Each token normalised, scaled by 1 + scale, and shifted."""
    y = normalised(h.astype(jnp.float32), eps).astype(h.dtype)
    return y * (1 + scale[:, None]) + shift[:, None]


def positions(places: tuple[int, int], width: int, grid: int) -> np.ndarray:
    """Sines and cosines of each token's column, then of its row: [n, width].

    Args:
      places: rows and columns of tokens.
      width: of the vectors, divisible by 4.
      grid: places are stretched to so many; 0 for as many as there are.
    """
    rows, columns = (np.arange(n) * ((grid or n) / n) for n in places)
    rates = 10_000.0 ** (-np.arange(width // 4) / (width // 4))

    def waves(at: np.ndarray) -> np.ndarray:
        angle = at.reshape(-1, 1) * rates
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)

    row, column = np.meshgrid(rows, columns, indexing="ij")
    return np.concatenate([waves(column), waves(row)], axis=1).astype(np.float32)
