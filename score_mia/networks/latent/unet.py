"""The text-conditional U-Net of Stable Diffusion 1.x and 2.x, and its text encoder.

Rombach et al. 2022 (2112.10752). Written from the shapes of the published weights; the
names are those of diffusers' UNet2DConditionModel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from score_mia.arrays import Key
from score_mia.check import UserError, at_least, one_of, require
from score_mia.networks.latent.layers import (
    Attention,
    FeedForward,
    ResnetBlock,
    TimeEmbedding,
    doubling,
    halving,
)
from score_mia.networks.latent.text import ClipText, TextEncoder
from score_mia.networks.layers import (
    Conv,
    Dense,
    Draws,
    GroupNorm,
    LayerNorm,
    sinusoids,
)
from score_mia.networks.network import COMPUTES, Compute, Shape, Telling, telling


@dataclasses.dataclass(frozen=True)
class LatentUNet:
    """Fields of the U-Net; the defaults are those of Stable Diffusion 1.x.

    Attributes:
      widths: channels of each level; each further one halves the resolution.
      blocks: residual blocks a level (one more on the way up).
      attends: whether a level has transformers after its blocks, for each level.
      heads: of the attention of each level.
      context: width of the text's tokens.
      linear: whether the transformers' way in and out is stored as a matrix (2.x) or as
        a 1x1 convolution (1.x): the same numbers, in files of another shape.
      layers: of each transformer.
      groups, eps: of the group normalisations, but for the transformers', whose eps is
        1e-6.
      attention_chunk: queries of attention at a time; 0 for all at once. 1024 bounds
        the logits of a 64x64 latent to a quarter.
    """

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    blocks: int = 2
    attends: tuple[bool, ...] = (True, True, True, False)
    heads: tuple[int, ...] = (8, 8, 8, 8)
    context: int = 768
    linear: bool = False
    layers: int = 1
    groups: int = 32
    eps: float = 1e-5
    attention_chunk: int = 0

    def __post_init__(self) -> None:
        for name in ("blocks", "context", "layers", "groups"):
            at_least(name, getattr(self, name), 1)
        at_least("attention_chunk", self.attention_chunk, 0)
        levels = {len(self.widths), len(self.attends), len(self.heads)}
        problem = "do not say the same number of levels"
        remedy = "give one of each for every level"
        ok = levels == {len(self.widths)} and len(self.widths) > 0
        require(ok, "widths, attends and heads", problem, remedy)
        for width, heads in zip(self.widths, self.heads, strict=True):
            ok = heads > 0 and width % heads == 0 and width % self.groups == 0
            problem = f"is no multiple of {heads} heads or {self.groups} groups"
            require(ok, f"width {width}", problem, "give others")


@dataclasses.dataclass(frozen=True)
class TextUNet:
    """Stable Diffusion's network: a U-Net on latents, and the encoder of its text.

    Its parameters are {"unet", "text"}; its condition is a row of token numbers.

    Attributes:
      unet, text: the two.
      compute: in what the U-Net multiplies. In "bfloat16" the output is off by 2 % of
        its RMS for tiny networks of random weights (tests/networks/test_latent.py).
    """

    unet: LatentUNet = dataclasses.field(default_factory=LatentUNet)
    text: ClipText = dataclasses.field(default_factory=ClipText)
    compute: Compute = "float32"

    def __post_init__(self) -> None:
        one_of("compute", self.compute, COMPUTES)
        problem = f"is not the {self.unet.context} that the U-Net is told in"
        same = self.text.width == self.unet.context
        remedy = "give the text encoder that belongs to it"
        require(same, f"text encoder's width {self.text.width}", problem, remedy)

    def module(self, shape: Shape, draws: Draws) -> Any:
        """A new module for latents of this shape."""
        factor = 2 ** (len(self.unet.widths) - 1)
        ok = shape[0] % factor == 0 and shape[1] % factor == 0
        problem = f"is not divisible by {factor}, as its levels need"
        require(ok, f"latent size {shape[0]}x{shape[1]}", problem, "resize the images")
        return _TextUNet(self, shape[2], draws)

    def build(self, shape: Iterable[int]) -> Telling:
        """The network for latents of shape (height, width, channels)."""
        return telling(self, shape)


class _TextUNet(nnx.Module):
    def __init__(self, spec: TextUNet, channels: int, draws: Draws):
        self.unet = UNet(spec.unet, channels, draws)
        self.text = TextEncoder(spec.text, draws)
        self.compute = jnp.dtype(spec.compute)

    def embed(self, tokens: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        """The text encoder's last states."""
        return self.text(tokens)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"],
        condition: Float[Array, "b l d"] | None,
        dropout_key: Key | None,
    ) -> Float[Array, "b h w c"]:
        del dropout_key  # it has no dropout
        if condition is None:
            raise UserError("a text-conditional network got no text; give a condition")
        given = (x.astype(self.compute), label, condition.astype(self.compute))
        return self.unet(*given).astype(x.dtype)


class Transformer(nnx.Module):
    """Transformer layers over the pixels, which see the text."""

    def __init__(self, u: LatentUNet, width: int, heads: int, draws: Draws):
        self.norm = GroupNorm(width, u.groups, 1e-6)
        self.proj_in = Dense(width, width, draws)
        self.transformer_blocks = nnx.List(
            [_Layer(u, width, heads, draws) for _ in range(u.layers)]
        )
        self.proj_out = Dense(width, width, draws)

    def __call__(
        self, x: Float[Array, "b h w c"], context: Float[Array, "b l d"]
    ) -> Float[Array, "b h w c"]:
        """x, plus what the layers make of it."""
        b, h, w, c = x.shape
        y = self.proj_in(self.norm(x).reshape(b, h * w, c))
        for layer in self.transformer_blocks:
            y = layer(y, context)
        return x + self.proj_out(y).reshape(x.shape)


class _Layer(nnx.Module):
    def __init__(self, u: LatentUNet, width: int, heads: int, draws: Draws):
        chunk = u.attention_chunk
        self.norm1, self.norm2, self.norm3 = (LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads, draws, chunk=chunk)
        self.attn2 = Attention(width, heads, draws, context=u.context, chunk=chunk)
        self.ff = FeedForward(width, draws)

    def __call__(
        self, x: Float[Array, "b n c"], context: Float[Array, "b l d"]
    ) -> Float[Array, "b n c"]:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class _Level(nnx.Module):
    """Blocks of one resolution, each followed by a transformer if the level attends."""

    def __init__(self, u: LatentUNet, level: int, inputs: list[int], draws: Draws):
        width, heads = u.widths[level], u.heads[level]
        told = 4 * u.widths[0]
        how: Any = {"groups": u.groups, "eps": u.eps, "told": told}
        self.resnets = nnx.List([ResnetBlock(i, width, draws, **how) for i in inputs])
        count = len(inputs) if u.attends[level] else 0
        self.attentions = nnx.List(
            [Transformer(u, width, heads, draws) for _ in range(count)]
        )

    def block(self, i: int, h: Array, time: Array, context: Array) -> Array:
        h = self.resnets[i](h, time)
        return self.attentions[i](h, context) if self.attentions else h


class _Down(_Level):
    def __init__(self, u: LatentUNet, level: int, inp: int, draws: Draws):
        width, last = u.widths[level], level == len(u.widths) - 1
        super().__init__(u, level, [inp] + [width] * (u.blocks - 1), draws)
        halved = [] if last else [halving(width, draws, (1, 1))]
        self.downsamplers = nnx.List(halved)


class _Up(_Level):
    def __init__(
        self, u: LatentUNet, level: int, inp: int, skips: list[int], draws: Draws
    ):
        width = u.widths[level]
        inputs = [inp] + [width] * u.blocks
        joined = [a + b for a, b in zip(inputs, skips, strict=True)]
        super().__init__(u, level, joined, draws)
        self.upsamplers = nnx.List([doubling(width, draws)] if level else [])


class _Middle(nnx.Module):
    def __init__(self, u: LatentUNet, draws: Draws):
        width, told = u.widths[-1], 4 * u.widths[0]
        how: Any = {"groups": u.groups, "eps": u.eps, "told": told}
        self.resnets = nnx.List(
            [ResnetBlock(width, width, draws, **how) for _ in range(2)]
        )
        self.attentions = nnx.List([Transformer(u, width, u.heads[-1], draws)])


class UNet(nnx.Module):
    """Down the levels, through the middle, and up again with skip connections."""

    def __init__(self, u: LatentUNet, channels: int, draws: Draws):
        first, levels = u.widths[0], range(len(u.widths))
        self.conv_in = Conv(channels, first, draws)
        self.time_embedding = TimeEmbedding(first, 4 * first, draws)
        width, skips, downs = first, [first], []
        for level in levels:
            downs.append(_Down(u, level, width, draws))
            width = u.widths[level]
            skips += [width] * (u.blocks + (level < len(u.widths) - 1))
        self.down_blocks = nnx.List(downs)
        self.mid_block = _Middle(u, draws)
        ups = []
        for level in reversed(levels):
            taken = [skips.pop() for _ in range(u.blocks + 1)]
            ups.append(_Up(u, level, width, taken, draws))
            width = u.widths[level]
        self.up_blocks = nnx.List(ups)
        self.conv_norm_out = GroupNorm(first, u.groups, u.eps)
        self.conv_out = Conv(first, channels, draws)
        self.first = first

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"],
        context: Float[Array, "b l d"],
    ) -> Float[Array, "b h w c"]:
        """The network's output, of the shape of x, in float32."""
        waves = sinusoids(label, self.first, "cos_sin", 0)
        time = self.time_embedding(waves.astype(x.dtype))
        h = self.conv_in(x)
        skips = [h]
        for level in self.down_blocks:
            for i in range(len(level.resnets)):
                h = level.block(i, h, time, context)
                skips.append(h)
            for change in level.downsamplers:
                h = change(h)
                skips.append(h)
        h = self.mid_block.resnets[0](h, time)
        h = self.mid_block.attentions[0](h, context)
        h = self.mid_block.resnets[1](h, time)
        for level in self.up_blocks:
            for i in range(len(level.resnets)):
                h = jnp.concatenate([h, skips.pop()], axis=-1)
                h = level.block(i, h, time, context)
            for change in level.upsamplers:
                h = change(h)
        return self.conv_out(jax.nn.silu(self.conv_norm_out(h.astype(jnp.float32))))
