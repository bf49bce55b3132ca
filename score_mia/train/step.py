"""One training step as a pure function: gradient, optimiser, moving average.

The three are separate arguments: private training (`train.dp`) has another gradient,
clipped image by image, and one more optax transform, and takes the same step.

The state is raveled: all parameters in one vector. A step on hundreds of leaves takes
XLA a minute to compile, on one vector a fraction of it (benchmarks/), and nothing that
a step does to parameters cares where one ends. Where the state is dealt out over the
devices (`spread.Dealt`) it is the tree instead, and a step the same.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from score_mia import device
from score_mia.arrays import Key, Params, Scalar
from score_mia.target import Target
from score_mia.train.config import TrainConfig
from score_mia.train.loss import Objective

Vector = Float[Array, " p"]


class Batch(NamedTuple):
    """Images of one step, [b, h, w, c] in [0, 1], and their conditions, [b] or None.

    `real` [b] is False where a row only fills up the shape; None where all are real.
    """

    images: Any
    conditions: Any = None
    real: Any = None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """Everything that one step hands to the next.

    Attributes:
      params: [p], the raveled parameters; or their tree, dealt out.
      ema: [p], their moving average; likewise.
      optimiser: the optax state.
      step: number of finished steps, int32.
      frozen: what of the model is not trained; {} if all of it is.

    Its fields also hold shapes and shardings, as JAX fills pytrees with them.
    """

    params: Any
    ema: Any
    optimiser: Any
    step: Any
    frozen: Any = dataclasses.field(default_factory=dict)


Gradient = Callable[[Params, Params, Batch, Key], tuple[Scalar, Params]]
"""`gradient(frozen, params, batch, key) -> (loss, its gradient in params)`."""

Join = Callable[[Params, Params], Target]
"""`join(frozen, trained) -> the target that they make`; pure."""

Step = Callable[[State, Batch, Key], tuple[State, Scalar]]
"""`step(state, batch, key) -> (next state, loss)`; the key is the whole run's."""


class Layout:
    """How a tree of float32 parameters lies in one vector.

    Args:
      like: the tree, of arrays or of shapes.
    """

    def __init__(self, like: Params) -> None:
        leaves, self.treedef = jax.tree.flatten(like)
        self.shapes = tuple(tuple(leaf.shape) for leaf in leaves)
        sizes = [math.prod(shape) for shape in self.shapes]
        self.ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        self.size = self.ends[-1]

    @property
    def abstract(self) -> Any:
        """Shape of the vector."""
        return jax.ShapeDtypeStruct((self.size,), jnp.float32)

    def ravel(self, tree: Params) -> Vector:
        """From the tree to the vector."""
        return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])

    def unravel(self, vector: Vector) -> Params:
        """From the vector to the tree."""
        pieces = jnp.split(vector, self.ends[:-1])
        leaves = [jnp.reshape(p, s) for p, s in zip(pieces, self.shapes, strict=True)]
        return jax.tree.unflatten(self.treedef, leaves)

    def cut(self, vector: np.ndarray) -> Params:
        """`unravel` of an array of NumPy, on the host; no number is copied."""
        places = zip([0, *self.ends[:-1]], self.ends, self.shapes, strict=True)
        leaves = [vector[a:b].reshape(shape) for a, b, shape in places]
        return jax.tree.unflatten(self.treedef, leaves)

    def settle(self, tree: Params) -> Params:
        """A gradient as the state holds parameters."""
        return tree


def make_optimiser(
    config: TrainConfig, privatiser: optax.GradientTransformation | None = None
) -> optax.GradientTransformation:
    """Clipping, L2 penalty, Adam, warm-up, in score_sde's order, and a decay.

    The first update is made at learning rate 0, as published: rate(n) = learning_rate
    * min(n / warmup, 1) before the n-th (counted from 0), times min((steps - n) /
    decay, 1), which score_sde has not.

    Args:
      config: its numbers.
      privatiser: adds noise to gradients that were clipped image by image; takes the
        place of clipping.
    """

    def rate(count: Any) -> Any:
        climbed = count.astype(jnp.float32) / max(config.warmup, 1)
        share = jnp.minimum(climbed, 1.0) if config.warmup else jnp.float32(1.0)
        if config.decay:
            left = config.steps - count.astype(jnp.float32)
            share = share * jnp.clip(left / config.decay, 0.0, 1.0)
        return config.learning_rate * share

    stages = [
        optax.scale_by_adam(config.beta1, config.beta2, config.epsilon),
        optax.scale_by_learning_rate(rate),
    ]
    if config.weight_decay:
        stages.insert(0, optax.add_decayed_weights(config.weight_decay))
    if privatiser is not None:
        stages.insert(0, privatiser)
    elif config.clip is not None:
        stages.insert(0, optax.clip_by_global_norm(config.clip))
    return optax.chain(*stages)


def make_gradient(
    join: Join, layout: Layout, objective: Objective, accumulate: int = 1
) -> Gradient:
    """Gradient of the mean loss of a batch in what is trained.

    Args:
      join: makes the target.
      layout: of what is trained.
      objective: the loss of an image.
      accumulate: parts of the batch that are looked at one after the other.
    """

    def loss(params: Params, frozen: Params, batch: Batch, keys: Any) -> Scalar:
        known = join(frozen, layout.unravel(params))
        axes = (None, 0, 0, None if batch.conditions is None else 0)
        per_image = jax.vmap(objective, axes)
        return jnp.mean(per_image(known, batch.images, keys, batch.conditions))

    value_and_grad = jax.value_and_grad(loss)

    def gradient(
        frozen: Params, params: Params, batch: Batch, key: Key
    ) -> tuple[Scalar, Params]:
        keys = jax.random.split(key, len(batch.images))
        one = functools.partial(value_and_grad, params, frozen)
        if accumulate == 1:
            value, grad = one(batch, keys)
            return value, layout.settle(grad)
        return _accumulated(one, layout, accumulate, batch, keys)

    return gradient


def _accumulated(
    one: Callable, layout: Layout, count: int, batch: Batch, keys: Any
) -> tuple[Scalar, Params]:
    """The mean of `one(batch, keys)` over so many parts of a batch.

    Part i is of the rows i, i + count, ...: each device has its share of every part.
    The rows' keys are those of the whole batch.
    """
    parts = jax.tree.map(
        lambda a: jnp.swapaxes(a.reshape(-1, count, *a.shape[1:]), 0, 1), (batch, keys)
    )

    def of(number: int) -> tuple[Batch, Any]:
        return jax.tree.map(lambda a: a[number], parts)

    def more(total: Any, part: Any) -> tuple[Any, None]:
        value, grad = one(*part)
        return jax.tree.map(jnp.add, total, (value, layout.settle(grad))), None

    value, grad = one(*of(0))
    total: Any = (value, layout.settle(grad))
    if jax.default_backend() == "cpu":  # where convolutions in loops are slow
        for number in range(1, count):
            rows, own = of(number)
            # The next part waits for the sum so far, so that one is held at a time.
            total, rows = jax.lax.optimization_barrier((total, rows))
            total, _ = more(total, (rows, own))
    else:
        total, _ = jax.lax.scan(more, total, jax.tree.map(lambda a: a[1:], parts))
    return jax.tree.map(lambda a: a / count, total)


def ema_decay(config: TrainConfig, updates: Int[Array, ""]) -> Scalar:
    """Decay at the n-th update, n = 1, 2, ... (the warm start of score_sde's EMA)."""
    n = updates.astype(jnp.float32)
    if not config.ema_warmup:
        return jnp.float32(config.ema)
    return jnp.minimum(config.ema, (1.0 + n) / (10.0 + n))


def make_step(
    gradient: Gradient, optimiser: optax.GradientTransformation, config: TrainConfig
) -> Step:
    """The step function: pure, unjitted, one batch."""

    def step(state: State, batch: Batch, key: Key) -> tuple[State, Scalar]:
        own = jax.random.fold_in(key, state.step)
        loss, grad = gradient(state.frozen, state.params, batch, own)
        with jax.numpy_dtype_promotion("standard"):  # optax: float ** int32
            update, moments = optimiser.update(grad, state.optimiser, state.params)
        params = jax.tree.map(jnp.add, state.params, update)
        done = state.step + 1
        share = 1.0 - ema_decay(config, done)
        ema = jax.tree.map(lambda e, p: e + share * (p - e), state.ema, params)
        return State(params, ema, moments, done, state.frozen), loss

    return step


def take(data: Batch, rows: Any) -> Batch:
    """The chosen rows of a whole data set (NumPy's or JAX's); -1 takes a filler."""
    return jax.tree.map(lambda a: a[rows], data)._replace(real=rows >= 0)


def make_program(step: Step, mesh: Mesh, indexed: bool, held: Any = None) -> Any:
    """The jitted, donated `program(state, data, indices, key) -> (state, losses)`.

    With `indexed`, `data` is a `Batch` of the whole data set, on every device, and
    `indices` [b] or [k, b] choose from it (-1: no row, but a filler); without,
    `indices` is None and `data` holds the k batches themselves (or the one, without a
    leading axis). Rows of a batch are spread over the mesh; the state is held as the
    shardings `held` say, or whole on every device. k steps run as one scan.
    """
    rows = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())

    def one(state: State, batch: Batch, key: Key) -> tuple[State, Scalar]:
        spread = jax.lax.with_sharding_constraint(batch, rows)
        return step(state, spread, key)

    def program(state: State, data: Batch, indices: Any, key: Key) -> Any:
        def pick(given: Any) -> Batch:
            return take(data, given) if indexed else given

        given: Any = indices if indexed else data
        ndim = given.ndim - 1 if indexed else given.images.ndim - 4
        if ndim == 0:
            state, loss = one(state, pick(given), key)
            return state, loss[None]
        return jax.lax.scan(lambda s, g: one(s, pick(g), key), state, given)

    return device.jit(program, donate_argnums=0, out_shardings=(held or whole, whole))
