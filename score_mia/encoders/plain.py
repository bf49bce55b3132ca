"""Encoders that need nothing: honest about seeing little, useful for small images."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.check import at_least
from score_mia.encoders.layers import Affine, Batch, affine, conv, pooled
from score_mia.encoders.protocol import Features, at_places


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The picture itself, in [-1, 1], after averaging over blocks.

    Attributes:
      size: blocks along either side at most; size^2 c features.
    """

    size: int = 8
    name: ClassVar[str] = "pixels"
    canonical: ClassVar[bool] = False
    tile: ClassVar[int] = 64

    def __post_init__(self) -> None:
        at_least("size", self.size, 1)

    @property
    def fingerprint(self) -> str:
        """The fields: there are no other weights."""
        return repr(self)

    def params(self, channels: int) -> None:
        """Nothing: a picture needs no weights."""

    def apply(self, params: None, images: Batch) -> Features:
        """The means of the blocks, row by row; a block is a token."""
        blocks = pooled(2 * images - 1, self.size, self.size)
        return {"pooled": _flat(blocks), "tokens": at_places(blocks)["tokens"]}


@dataclasses.dataclass(frozen=True)
class RandomConv:
    """Means of rectified random filters of three sizes, over a grid of places.

    Untrained convolutions still tell textures and shapes apart (Naeem et al. 2020,
    2002.09797, Section 4, use them where ImageNet's features mean nothing). They see
    coarse structure, not meaning, and are no substitute for a trained encoder.

    Attributes:
      widths: filters of each layer; side and resolution halve from one to the next.
      grid: places along either side whose mean is taken.
      seed: of the filters: NumPy's RandomState, whose numbers never change.
    """

    widths: tuple[int, ...] = (16, 32, 64)
    grid: int = 2
    seed: int = 0
    name: ClassVar[str] = "random_conv"
    canonical: ClassVar[bool] = False
    tile: ClassVar[int] = 64

    def __post_init__(self) -> None:
        at_least("number of widths", len(self.widths), 1)
        for width in self.widths:
            at_least("width", width, 1)
        at_least("grid", self.grid, 1)
        at_least("seed", self.seed, 0)

    @property
    def fingerprint(self) -> str:
        """The fields: there are no other weights."""
        return repr(self)

    def params(self, channels: int) -> list[Affine]:
        """He-initialised filters 3x3 with random thresholds, for so many channels."""
        out = []
        for layer, width in enumerate(self.widths):
            random = np.random.RandomState([self.seed, layer])
            kernel = random.standard_normal((3, 3, channels, width))
            bias = 0.5 * random.standard_normal(width)
            out.append(affine(kernel * np.sqrt(2 / (9 * channels)), bias))
            channels = width
        return out

    def apply(self, params: list[Affine], images: Batch) -> Features:
        """The means of every layer, side by side; the last layer's are the tokens."""
        x = places = 2 * images - 1
        means = []
        for p in params:
            x = jax.nn.relu(conv(x, p))
            places = pooled(x, self.grid, self.grid)
            means.append(_flat(places))
            x = pooled(x, -(-x.shape[1] // 2), -(-x.shape[2] // 2))
        tokens = at_places(places)["tokens"]
        return {"pooled": jnp.concatenate(means, axis=1), "tokens": tokens}


def _flat(x: Batch) -> jax.Array:
    return x.reshape(len(x), -1)
