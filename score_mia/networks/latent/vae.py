"""The autoencoder whose latents Stable Diffusion and DiT live on, as a codec.

Rombach et al. 2022 (2112.10752), with a Kullback-Leibler penalty: an image is encoded
to the mean and the variance of a normal law. The names are those of diffusers'
AutoencoderKL.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from score_mia.arrays import Key, Params
from score_mia.check import at_least, positive, require
from score_mia.networks.latent.layers import (
    Attention,
    ResnetBlock,
    doubling,
    halving,
)
from score_mia.networks.layers import Conv, Dense, Draws, GroupNorm
from score_mia.networks.network import fresh, merged


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class AutoencoderKL:
    """A learned codec (`target.LearnedCodec`); the defaults are Stable Diffusion's.

    Attributes:
      channels: of an image.
      latent: channels of a latent.
      widths: channels of each level; each further one halves the resolution.
      blocks: residual blocks a level of the encoder (one more in the decoder).
      groups: of the group normalisations, whose eps is 1e-6.
      scale, shift: x = scale (latent - shift), about of variance 1.
      attention: whether the middle attends.
      quant: whether 1x1 convolutions stand on either side of the latent.
    """

    channels: int = 3
    latent: int = 4
    widths: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    groups: int = 32
    scale: float = 0.18215
    shift: float = 0.0
    attention: bool = True
    quant: bool = True

    def __post_init__(self) -> None:
        for name in ("channels", "latent", "blocks", "groups"):
            at_least(name, getattr(self, name), 1)
        positive("scale", self.scale)
        for width in self.widths:
            ok = width > 0 and width % self.groups == 0
            problem = f"is no multiple of {self.groups} groups"
            require(ok, f"width {width}", problem, "give another")

    @property
    def factor(self) -> int:
        """How many times smaller a latent is than its image."""
        return 2 ** (len(self.widths) - 1)

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The latent's; `UserError` if the image does not halve so often."""
        h, w, c = image_shape
        ok = h % self.factor == 0 and w % self.factor == 0
        problem = f"are not divisible by {self.factor}, as the autoencoder needs"
        require(ok, f"images of {h}x{w}", problem, "resize them")
        problem = f"have {c} channels where the autoencoder takes {self.channels}"
        require(c == self.channels, "images", problem, "give data.channels")
        return h // self.factor, w // self.factor, self.latent

    def module(self, shape: tuple[int, int, int], draws: Draws) -> Any:
        """A new module; the shape decides nothing."""
        del shape
        return _Autoencoder(self, draws)

    def init(self, key: Key) -> Params:
        """Fresh parameters."""
        return fresh(self, (1, 1, 1), key)

    def encode(
        self, params: Params, image: Float[Array, "h w c"], key: Key | None
    ) -> Float[Array, "..."]:
        """The mean of the latent's law, or a draw of it."""
        mean, log_variance = self.moments(params, image)
        if key is not None:
            noise = jax.random.normal(key, mean.shape, mean.dtype)
            mean = mean + jnp.exp(0.5 * log_variance) * noise
        return self.scale * (mean - self.shift)

    def moments(
        self, params: Params, image: Float[Array, "h w c"]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Mean and log variance of the law of one image's latent, unscaled."""
        both = self._with(params).encode(2.0 * image[None] - 1.0)[0]
        mean, log_variance = jnp.split(both, 2, axis=-1)
        return mean, jnp.clip(log_variance, -30.0, 20.0)

    def decode(self, params: Params, x: Float[Array, "..."]) -> Float[Array, "h w c"]:
        """One latent's image in [0, 1], unclipped."""
        latent = x / self.scale + self.shift
        return (self._with(params).decode(latent[None])[0] + 1.0) / 2.0

    @functools.cached_property
    def _with(self) -> Any:
        return functools.partial(merged, self, (1, 1, 1))


class _Autoencoder(nnx.Module):
    def __init__(self, a: AutoencoderKL, draws: Draws):
        self.encoder, self.decoder = _Encoder(a, draws), _Decoder(a, draws)
        both = 2 * a.latent
        self.quant_conv: Any = Dense(both, both, draws) if a.quant else None
        self.post_quant_conv: Any = (
            Dense(a.latent, a.latent, draws) if a.quant else None
        )

    def encode(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        both = self.encoder(image)
        return both if self.quant_conv is None else self.quant_conv(both)

    def decode(self, latent: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 c"]:
        given = self.post_quant_conv
        return self.decoder(latent if given is None else given(latent))


class _Level(nnx.Module):
    def __init__(self, a: AutoencoderKL, inp: int, out: int, count: int, draws: Draws):
        widths = [inp] + [out] * count
        self.resnets = nnx.List(
            [_block(a, i, o, draws) for i, o in itertools.pairwise(widths)]
        )
        self.downsamplers = nnx.List([])
        self.upsamplers = nnx.List([])

    def __call__(self, h: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        for layer in (*self.resnets, *self.downsamplers, *self.upsamplers):
            h = layer(h)
        return h


def _block(a: AutoencoderKL, inp: int, out: int, draws: Draws) -> ResnetBlock:
    return ResnetBlock(inp, out, draws, groups=a.groups, eps=1e-6)


class _Middle(nnx.Module):
    def __init__(self, a: AutoencoderKL, draws: Draws):
        width = a.widths[-1]
        self.resnets = nnx.List([_block(a, width, width, draws) for _ in range(2)])
        norm = GroupNorm(width, a.groups, 1e-6)
        attention = Attention(width, 1, draws, bias=True, norm=norm)
        self.attentions = nnx.List([attention] if a.attention else [])

    def __call__(self, h: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        h = self.resnets[0](h)
        for attention in self.attentions:
            h = attention.over_pixels(h)
        return self.resnets[1](h)


class _Ends(nnx.Module):
    """What encoder and decoder have in common: the way in, the middle, the way out."""

    def __init__(self, a: AutoencoderKL, inp: int, out: int, last: int, draws: Draws):
        self.conv_norm_out = GroupNorm(last, a.groups, 1e-6)
        self.conv_out = Conv(last, out, draws)
        self.mid_block = _Middle(a, draws)

    def _out(self, h: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
        return self.conv_out(jax.nn.silu(self.conv_norm_out(h)))


class _Encoder(_Ends):
    def __init__(self, a: AutoencoderKL, draws: Draws):
        super().__init__(a, a.channels, 2 * a.latent, a.widths[-1], draws)
        self.conv_in = Conv(a.channels, a.widths[0], draws)
        levels, width = [], a.widths[0]
        for i, out in enumerate(a.widths):
            level = _Level(a, width, out, a.blocks, draws)
            if i < len(a.widths) - 1:
                level.downsamplers = nnx.List([halving(out, draws, (0, 1))])
            levels.append(level)
            width = out
        self.down_blocks = nnx.List(levels)

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        h = self.conv_in(image)
        for level in self.down_blocks:
            h = level(h)
        return self._out(self.mid_block(h))


class _Decoder(_Ends):
    def __init__(self, a: AutoencoderKL, draws: Draws):
        super().__init__(a, a.latent, a.channels, a.widths[0], draws)
        self.conv_in = Conv(a.latent, a.widths[-1], draws)
        levels, width = [], a.widths[-1]
        for i, out in enumerate(reversed(a.widths)):
            level = _Level(a, width, out, a.blocks + 1, draws)
            if i < len(a.widths) - 1:
                level.upsamplers = nnx.List([doubling(out, draws)])
            levels.append(level)
            width = out
        self.up_blocks = nnx.List(levels)

    def __call__(self, latent: Float[Array, "b h w d"]) -> Float[Array, "b h2 w2 c"]:
        h = self.mid_block(self.conv_in(latent))
        for level in self.up_blocks:
            h = level(h)
        return self._out(h)
