"""Encoders that need nothing: honest about seeing little, useful for small images."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_mia.check import at_least
from score_mia.device import jit
from score_mia.encoders.layers import Affine, Batch, affine, conv, pooled
from score_mia.encoders.protocol import in_tiles

_TILE = 64


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The picture itself, in [-1, 1], after averaging over blocks.

    Attributes:
      size: blocks along either side at most; size^2 c features.
    """

    size: int = 8
    name: ClassVar[str] = "pixels"
    canonical: ClassVar[bool] = False

    def __post_init__(self) -> None:
        at_least("size", self.size, 1)

    @property
    def fingerprint(self) -> str:
        return repr(self)

    @cached_property
    def _program(self) -> Any:
        return jit(lambda x: _flat(pooled(2 * x - 1, self.size, self.size)))

    def features(
        self, images: Float[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, "n d"]:
        return in_tiles(self._program, images, _TILE)


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

    def __post_init__(self) -> None:
        at_least("number of widths", len(self.widths), 1)
        for width in self.widths:
            at_least("width", width, 1)
        at_least("grid", self.grid, 1)
        at_least("seed", self.seed, 0)

    @property
    def fingerprint(self) -> str:
        return repr(self)

    def filters(self, channels: int) -> list[Affine]:
        """He-initialised filters 3x3 with random thresholds, for so many channels."""
        out = []
        for layer, width in enumerate(self.widths):
            random = np.random.RandomState([self.seed, layer])
            kernel = random.standard_normal((3, 3, channels, width))
            bias = 0.5 * random.standard_normal(width)
            out.append(affine(kernel * np.sqrt(2 / (9 * channels)), bias))
            channels = width
        return out

    @cached_property
    def _program(self) -> Any:
        def program(filters: list[Affine], x: Batch) -> jax.Array:
            x, seen = 2 * x - 1, []
            for p in filters:
                x = jax.nn.relu(conv(x, p))
                seen.append(_flat(pooled(x, self.grid, self.grid)))
                x = pooled(x, -(-x.shape[1] // 2), -(-x.shape[2] // 2))
            return jnp.concatenate(seen, axis=1)

        return jit(program)

    def features(
        self, images: Float[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, "n d"]:
        filters = self.filters(images.shape[-1])
        return in_tiles(lambda x: self._program(filters, x), images, _TILE)


def _flat(x: Batch) -> jax.Array:
    return x.reshape(len(x), -1)
