"""A small fully connected network for tests and tiny data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from score_mia.arrays import Key
from score_mia.check import at_least, one_of, within
from score_mia.networks.layers import ClassEmbedding, Dense, Draws, Dropout, sinusoids
from score_mia.networks.network import (
    COMPUTES,
    Compute,
    Network,
    Shape,
    functional,
    take_condition,
)


@dataclasses.dataclass(frozen=True)
class MLP:
    """Specification of a residual multi-layer perceptron on the flattened image.

    Attributes:
      features: width of the hidden layers and of the label's sinusoidal embedding.
      blocks: number of residual hidden layers.
      dropout: rate inside the hidden layers, where a dropout key is given.
      classes: number of classes the network is told of; 0 for none.
      compute: in what it multiplies; see `network.Compute`.
    """

    features: int = 64
    blocks: int = 2
    dropout: float = 0.0
    classes: int = 0
    compute: Compute = "float32"

    def __post_init__(self) -> None:
        one_of("compute", self.compute, COMPUTES)
        at_least("features", self.features, 4)
        at_least("blocks", self.blocks, 1)
        at_least("classes", self.classes, 0)
        within("dropout", self.dropout, 0.0, 0.99)

    def module(self, shape: Shape, draws: Draws) -> _Perceptron:
        """A new module for images of this shape."""
        return _Perceptron(self, shape, draws)

    def build(self, shape: Iterable[int]) -> Network:
        """The network for images of shape (height, width, channels)."""
        return functional(self, shape)


class _Perceptron(nnx.Module):
    def __init__(self, spec: MLP, shape: Shape, draws: Draws):
        size, width = math.prod(shape), spec.features
        self.spec = spec
        self.first = Dense(size, width, draws)
        self.embed = Dense(width, width, draws)
        self.classes: Any = (
            ClassEmbedding(spec.classes, width, draws) if spec.classes else None
        )
        self.hidden = nnx.List([Dense(width, width, draws) for _ in range(spec.blocks)])
        self.last = Dense(width, size, draws)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        label: Float[Array, " b"],
        condition: Int[Array, " b"] | None,
        dropout_key: Key | None,
    ) -> Float[Array, "b h w c"]:
        take_condition(condition, self.spec.classes)
        dropout = Dropout(self.spec.dropout, dropout_key)
        dtype = jnp.dtype(self.spec.compute)
        h = self.first(x.reshape(x.shape[0], -1).astype(dtype))
        h = h + self.embed(sinusoids(label, self.spec.features).astype(dtype))
        if self.classes is not None:
            h = h + self.classes(condition).astype(dtype)
        for layer in self.hidden:
            h = h + layer(dropout(jax.nn.silu(h)))
        return self.last(jax.nn.silu(h).astype(x.dtype)).reshape(x.shape)
