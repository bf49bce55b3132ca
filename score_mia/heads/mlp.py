"""The perceptron of Pang & Wang 2023 (2312.08207): their third decision rule.

    K -> 1024 (batch norm, ReLU, dropout) -> 512 -> ... -> 32 (ReLU6, dropout) -> 2

by cross-entropy, Adam, whole batches. Their code keeps the epoch that is best on the
images it reports; the last one is taken here.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from score_mia.arrays import Key, Scalar
from score_mia.check import at_least, positive, require, within
from score_mia.heads.training import (
    EPSILON,
    Seen,
    State,
    descended,
    normed,
    seen_in,
    uniform,
)
from score_mia.readings import Evidence
from score_mia.rules.known import Fitted, Standard, shown
from score_mia.rules.protocol import Knowledge

Layers = tuple[tuple[Array, Array], ...]
"""Weights [a, b] and offsets [b] of each layer."""


class Learned(NamedTuple):
    """What Adam changes.

    Attributes:
      layers: of the perceptron.
      scale, offset: of the batch norm after the first.
    """

    layers: Any
    scale: Any
    offset: Any


@dataclasses.dataclass(frozen=True)
class Mlp:
    """A perceptron, fitted on known members and non-members.

    Attributes:
      widths: of its hidden layers.
      dropout: rate after each.
      learning_rate: of Adam.
      epochs: steps, each on all known images.
      seed: of the weights and the dropout.
    """

    widths: tuple[int, ...] = (1024, 512, 256, 128, 64, 32)
    dropout: float = 0.5
    learning_rate: float = 1e-4
    epochs: int = 1000
    seed: int = 0

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("split", "shadows"))

    def __post_init__(self) -> None:
        require(len(self.widths) > 0, "widths", "is empty", "give one or more")
        for width in self.widths:
            at_least("widths", width, 1)
        within("dropout", self.dropout, 0.0, 0.99)
        positive("learning_rate", self.learning_rate)
        at_least("epochs", self.epochs, 1)

    def quick(self) -> Mlp:
        """A few epochs."""
        return dataclasses.replace(self, epochs=min(self.epochs, 2))

    def fit(self, known: Evidence) -> Fitted:
        """Train on the known images.

        Raises:
          UserError: too few images of a class, or a value that is not finite.
        """
        rows = shown(known, "mlp")
        standard = Standard.of(rows.values)
        values = jnp.asarray(standard(rows.values), jnp.float32)
        key = jax.random.key(self.seed)
        state = _train(self, values, jnp.asarray(rows.member), key)
        kept = state._replace(moments=None)
        learned = jax.tree.map(lambda a: np.asarray(a, np.float64), kept)
        about = f"perceptron of {len(rows.names)} columns, {self.epochs} epochs"
        margin = functools.partial(_log_odds, learned)
        return Fitted.on(rows, standard, self, about, margin)


def _init(widths: tuple[int, ...], key: Key) -> Layers:
    """Weights and offsets as torch's linear layers begin."""
    layers = []
    for i, (a, b) in enumerate(itertools.pairwise(widths)):
        own = jax.random.split(jax.random.fold_in(key, i))
        layers.append((uniform(own[0], (a, b), a), uniform(own[1], (b,), a)))
    return tuple(layers)


@functools.partial(jax.jit, static_argnums=0)
def _train(
    rule: Mlp,
    values: Float[Array, "n k"],
    member: Bool[Array, " n"],
    key: Key,
) -> State:
    """All epochs in one program."""
    layers = _init((values.shape[1], *rule.widths, 2), jax.random.fold_in(key, 0))
    wide = jnp.ones(rule.widths[0])
    optimiser = optax.adam(rule.learning_rate)
    begin = Learned(layers, wide, 0 * wide)
    start = State(begin, Seen(0 * wide, wide), optimiser.init(begin))

    def loss(learned: Learned, epoch: Array) -> tuple[Scalar, Seen]:
        own = jax.random.fold_in(key, epoch)
        logits, seen = _forward(learned, values, rule.dropout, own)
        each = optax.softmax_cross_entropy_with_integer_labels(
            logits, member.astype(jnp.int32)
        )
        return jnp.mean(each), seen

    return descended(loss, optimiser, start, rule.epochs)


def _forward(
    learned: Learned, values: Float[Array, "n k"], dropout: float, key: Key
) -> tuple[Float[Array, "n 2"], Seen]:
    """Logits as they are in training, and what the batch norm sees."""
    x, seen = values, Seen(None, None)
    for i, (weights, offset) in enumerate(learned.layers):
        x = x @ weights + offset[None]
        if i == 0:
            own, seen = seen_in(x)
            x = jax.nn.relu(normed(x, own, learned.scale, learned.offset))
        elif i < len(learned.layers) - 1:
            x = jax.nn.relu6(x)
        if i < len(learned.layers) - 1:
            own = jax.random.fold_in(key, i)
            kept = jax.random.bernoulli(own, 1 - dropout, x.shape)
            x = jnp.where(kept, x / (1 - dropout), 0.0)
    return x, seen


def _log_odds(state: State, values: Float[np.ndarray, "n k"]) -> np.ndarray:
    """As it judges: running statistics, no dropout, in NumPy and float64."""
    x, (learned, seen, _) = values, state
    for i, (weights, offset) in enumerate(learned.layers):
        x = x @ weights + offset
        if i == 0:
            x = (x - seen.mean) / np.sqrt(seen.variance + EPSILON)
            x = np.maximum(x * learned.scale + learned.offset, 0.0)
        elif i < len(learned.layers) - 1:
            x = np.clip(x, 0.0, 6.0)
    return x[:, 1] - x[:, 0]
