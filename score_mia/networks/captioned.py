"""A U-Net that is told a text: a small encoder of words, trained with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from score_mia.arrays import Key
from score_mia.check import at_least, require
from score_mia.networks.attention import attend
from score_mia.networks.ddpm import DDPMNet
from score_mia.networks.layers import Dense, Draws, LayerNorm
from score_mia.networks.network import Shape, Telling, telling
from score_mia.networks.options import Options
from score_mia.networks.unet import UNet


@dataclasses.dataclass(frozen=True)
class Captioned(DDPMNet):
    """DDPM's network, told the words of a caption (`conditions.Words`).

    The words' vectors pass `layers` transformer layers; their mean is told to every
    block beside the time. A caption without words is a vector of zeros.

    Attributes:
      vocabulary: how many words there are, 0 (none) and 1 (any other) included.
      length: most words of a caption.
      width: of the text's vectors.
      layers, heads: of the transformer.
      sketch: channels of an image that two dense layers make of the caption's vector,
        and that the U-Net sees beside x; 0 for none. Where a caption lies in the image
        is then learned in a few hundred steps, which convolutions alone take longer to.
    """

    vocabulary: int = 2
    length: int = 24
    width: int = 128
    layers: int = 2
    heads: int = 4
    sketch: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("vocabulary", self.vocabulary, 2)
        for name in ("length", "width", "layers", "heads"):
            at_least(name, getattr(self, name), 1)
        at_least("sketch", self.sketch, 0)
        ok = self.width % self.heads == 0 and self.classes == 0
        problem = "does not divide the width, or there are classes beside the text"
        remedy = "give heads that divide it, and classes=0"
        require(ok, f"heads={self.heads}", problem, remedy)

    def options(self) -> Options:
        """Those of the U-Net."""
        unet = {f.name: getattr(self, f.name) for f in dataclasses.fields(DDPMNet)}
        return dataclasses.replace(DDPMNet(**unet).options(), vector=self.width)

    def module(self, shape: Shape, draws: Draws) -> Any:
        """A new module for images of this shape."""
        return _Told(self, shape, draws)

    def build(self, shape: Iterable[int]) -> Telling:
        """The network for x of shape (height, width, channels)."""
        return telling(self, shape)


class _Told(nnx.Module):
    def __init__(self, spec: Captioned, shape: Shape, draws: Draws):
        h, w, self.channels = shape
        seen = (h, w, self.channels + spec.sketch)
        self.unet = UNet(spec.options(), seen, draws)
        self.text = _Words(spec, draws)
        self.sketch: Any = _Sketch(spec, (h, w), draws) if spec.sketch else None

    def embed(self, tokens: Int[Array, "b l"]) -> Float[Array, "b d"]:
        """The vector of each caption."""
        return self.text(tokens)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"],
        condition: Float[Array, "b d"] | None,
        dropout_key: Key | None,
    ) -> Float[Array, "b h w c"]:
        if self.sketch is not None:
            x = jnp.concatenate([x, self.sketch(x, condition)], axis=-1)
        out = self.unet(x, label, condition, dropout_key)
        return out[..., : self.channels]


class _Sketch(nnx.Module):
    def __init__(self, spec: Captioned, sides: tuple[int, int], draws: Draws):
        self.shape = (*sides, spec.sketch)
        hidden = 4 * spec.width
        self.up = Dense(spec.width, hidden, draws)
        self.out = Dense(hidden, sides[0] * sides[1] * spec.sketch, draws)

    def __call__(
        self, x: Float[Array, "b h w c"], vector: Float[Array, "b d"] | None
    ) -> Float[Array, "b h w s"]:
        if vector is None:
            return jnp.zeros((len(x), *self.shape), x.dtype)
        return self.out(jax.nn.gelu(self.up(vector))).reshape(-1, *self.shape)


class _Words(nnx.Module):
    def __init__(self, spec: Captioned, draws: Draws):
        self.words = nnx.Param(draws.uniform((spec.vocabulary, spec.width)))
        self.places = nnx.Param(0.1 * draws.uniform((spec.length, spec.width)))
        self.layers = nnx.List([_Layer(spec, draws) for _ in range(spec.layers)])
        self.norm = LayerNorm(spec.width)

    def __call__(self, tokens: Int[Array, "b l"]) -> Float[Array, "b d"]:
        there = tokens > 0
        h = jnp.take(self.words[...], tokens, axis=0) + self.places[...][None]
        for layer in self.layers:
            h = layer(h, there)
        h = jnp.where(there[..., None], self.norm(h), 0.0)
        count = jnp.maximum(jnp.sum(there, axis=1), 1)
        return jnp.sum(h, axis=1) / count[:, None].astype(h.dtype)


class _Layer(nnx.Module):
    """Attention among the words that are there, and a perceptron (pre-norm)."""

    def __init__(self, spec: Captioned, draws: Draws):
        d, self.heads = spec.width, spec.heads
        self.norm_0, self.norm_1 = LayerNorm(d), LayerNorm(d)
        self.query, self.key = Dense(d, d, draws), Dense(d, d, draws)
        self.value, self.out = Dense(d, d, draws), Dense(d, d, draws, 0.1)
        self.up, self.down = Dense(d, 4 * d, draws), Dense(4 * d, d, draws, 0.1)

    def __call__(
        self, h: Float[Array, "b l d"], there: Bool[Array, "b l"]
    ) -> Float[Array, "b l d"]:
        x = self.norm_0(h)
        q, k, v = self.query(x), self.key(x), self.value(x)
        mixed = attend(q, k, v, self.heads, mask=there[:, None, None, :])
        h = h + self.out(mixed)
        return h + self.down(jax.nn.gelu(self.up(self.norm_1(h))))
