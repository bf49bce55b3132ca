"""What heads share: layers as torch begins them, batch norms, and all steps of an
optimiser in one program.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from score_mia.arrays import Key, Scalar

MOMENTUM = 0.1  # of the running mean and variance, as torch has it
EPSILON = 1e-5  # beside the variance


class Seen(NamedTuple):
    """Mean and variance of what a batch norm sees: of a batch, or running."""

    mean: Any
    variance: Any


class State(NamedTuple):
    """All that a step hands to the next.

    Attributes:
      learned: what the optimiser changes, a pytree.
      seen: a `Seen` of each batch norm, running.
      moments: the optimiser's own.
    """

    learned: Any
    seen: Any
    moments: Any = None


def uniform(key: Key, shape: tuple[int, ...], fan_in: int) -> Array:
    """Weights or offsets as torch's linear layers and convolutions begin."""
    k = 1 / math.sqrt(fan_in)
    return jax.random.uniform(key, shape, minval=-k, maxval=k)


def seen_in(x: Float[Array, "... c"]) -> tuple[Seen, Seen]:
    """Mean and variance [c] of a batch, and what of them goes into the running ones.

    The batch is normalised by its own variance; the running one is of the images that
    are not in it, and so without that bias.
    """
    axes, count = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    mean, variance = jnp.mean(x, axis=axes), jnp.var(x, axis=axes)
    return Seen(mean, variance), Seen(mean, variance * count / max(1, count - 1))


def normed(
    x: Float[Array, "... c"],
    seen: Seen,
    scale: Float[Array, " c"],
    offset: Float[Array, " c"],
) -> Float[Array, "... c"]:
    """A batch norm's output."""

    def wide(vector: Array) -> Array:
        return vector.reshape((1,) * (x.ndim - 1) + vector.shape)

    x = (x - wide(seen.mean)) / jnp.sqrt(wide(seen.variance) + EPSILON)
    return x * wide(scale) + wide(offset)


def descended(
    loss: Callable[[Any, Int[Array, ""]], tuple[Scalar, Any]],
    optimiser: optax.GradientTransformation,
    start: State,
    steps: int,
) -> State:
    """The state after so many steps, the last: none is chosen by what is judged.

    Args:
      loss: of what is learned and the number of the step, from 1; and the `Seen`s.
      optimiser: whose moments `start` has.
      start: before the first step.
      steps: a number that the program is compiled for.
    """

    def step(state: State, number: Array) -> tuple[State, None]:
        gradient, new = jax.grad(loss, has_aux=True)(state.learned, number)
        with jax.numpy_dtype_promotion("standard"):  # optax: float ** int32
            change, moments = optimiser.update(gradient, state.moments, state.learned)
        learned = jax.tree.map(jnp.add, state.learned, change)
        seen = jax.tree.map(lambda a, b: a + MOMENTUM * (b - a), state.seen, new)
        return State(learned, seen, moments), None

    return jax.lax.scan(step, start, jnp.arange(1, steps + 1))[0]
