"""Private training (DP-SGD): another gradient, one more optax transform, other batches.

    gradient   = sum over images of clip(gradient of the image) / expected batch
    privatiser = + Normal(0, (noise_multiplier clip / expected batch)^2)
    batches    = each image by its own coin, padded to one compiled shape

Everything after the noise (Adam, L2 penalty, warm-up, averaging) is post-processing and
costs nothing. The clipped sum is ours: with jax_privacy's `clipped_grad` a step takes
1.9 times as long on CPU (benchmarks/dp_step.py). Tests hold the two against each other.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float
from jaxtyping import Key as TypedKeys

from score_mia.arrays import Key, Params, Scalar
from score_mia.check import require
from score_mia.data.loader import PoissonBatches
from score_mia.train import accounting
from score_mia.train.accounting import Mechanism
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.step import Batch, Gradient, Join, Layout, Vector

Keys = TypedKeys[Array, "..."]

# Folded into the run's key, as the number of a step is: steps are int32 and never
# reach it, so no batch shares the noise's key.
_NOISE = 2**31 + 0xD9


def mechanism(config: TrainConfig, rows: int) -> Mechanism:
    """The noise, calibrated if it is not given, and the batches of a private run.

    Args:
      config: with `dp`.
      rows: images in the training set.

    Raises:
      UserError: batches larger than the training set, a capacity that the accountant
        cannot account for, an epsilon out of reach, dp_accounting missing.
    """
    dp = _privacy(config)
    rate = config.batch / rows if dp.rate is None else dp.rate
    problem = (
        f"is larger than the training set of {rows} images, which private training "
        "samples without replacement"
    )
    require(rate <= 1, f"batch={config.batch}", problem, f"give {rows} or less")
    least = accounting.capacity(rows, rate)
    capacity = least if dp.capacity is None else dp.capacity
    ok = capacity >= least or dp.accountant == "pld"
    problem = "truncates batches, which accountant='rdp' knows nothing of"
    remedy = f"give {least} or more, or take accountant='pld'"
    require(ok, f"dp.capacity={capacity}", problem, remedy)
    found = Mechanism(rows, rate, capacity, 0.0, config.steps, dp.adjacency)
    return dataclasses.replace(found, noise_multiplier=_noise(dp, found))


def _noise(dp: Privacy, m: Mechanism) -> float:
    if dp.control == "clip_only":
        return 0.0
    if dp.noise_multiplier is not None:
        return float(dp.noise_multiplier)
    assert dp.epsilon is not None
    return accounting.calibrate(m, float(dp.epsilon), dp.delta, dp.accountant)


def record(config: TrainConfig, m: Mechanism, steps: int) -> dict[str, Any]:
    """What a checkpoint after so many steps tells of its privacy, as JSON values.

    See `accounting.account`; a control has the mechanism's numbers and no epsilon.
    """
    dp, m = _privacy(config), dataclasses.replace(m, steps=steps)
    about = {
        "control": dp.control,
        "clip": dp.clip,
        "expected_batch": m.expected,
        "draws": config.draws,
        "calibrated": dp.accountant if dp.epsilon is not None else None,
    }
    if not dp.control:
        return {**about, **accounting.account(m, dp.delta)}
    none = {"delta": dp.delta, "epsilon_pld": None, "epsilon_rdp": None}
    return {**about, **dataclasses.asdict(m), "sampling": "poisson", **none}


def make_batches(config: TrainConfig, m: Mechanism) -> PoissonBatches:
    """Every image in each batch by its own coin."""
    return PoissonBatches(m.rows, m.rate, m.capacity, config.seed)


def make_privatiser(config: TrainConfig, m: Mechanism) -> optax.GradientTransformation:
    """Adds the noise; its state is a key, so that noise depends on (seed, step) alone.

    Whoever knows the seed can take the noise off again: the guarantee is against those
    who do not.
    """
    if m.noise_multiplier == 0:
        return optax.identity()
    try:
        from jax_privacy.noise_addition import gaussian_privatizer
    except ImportError as error:
        raise accounting.missing(error) from error
    key = jax.random.fold_in(jax.random.key(config.seed), np.uint32(_NOISE))
    return gaussian_privatizer(
        stddev=m.noise_multiplier * _privacy(config).clip / m.expected,
        prng_key=jax.random.key_data(key),  # states are saved as plain numbers
    )


def make_private_gradient(
    join: Join, layout: Layout, config: TrainConfig, m: Mechanism, mesh: Mesh
) -> Gradient:
    """The clipped sum over a batch, divided by the expected number of its images.

    So is the loss, which gets no noise: train.jsonl is not covered by the guarantee.
    Draws and flips are averaged before an image is clipped.
    """
    dp, objective = _privacy(config), config.objective
    usual = 8 if jax.default_backend() == "cpu" else 32
    clip = math.inf if dp.control == "noise_only" else float(dp.clip)

    def summed(frozen: Params, params: Params, batch: Batch, keys: Keys) -> Any:
        def one(params: Params, image: Any, condition: Any, key: Key) -> Scalar:
            model = join(frozen, params)
            return objective(model, image, key, condition=condition)

        return clipped_sum(one, clip, dp.microbatch or usual, params, batch, keys)

    dealt = _deal(summed, mesh)

    def gradient(
        frozen: Params, params: Vector, batch: Batch, key: Key
    ) -> tuple[Scalar, Vector]:
        real = batch.real
        if real is None:
            real = jnp.ones(len(batch.images), bool)
        keys = jax.random.split(key, len(batch.images))
        batch = batch._replace(real=real)
        loss, total = dealt(frozen, layout.unravel(params), batch, keys)
        return loss / m.expected, layout.ravel(total) / m.expected

    return gradient


def _deal(summed: Callable, mesh: Mesh) -> Callable:
    """The sum over a batch whose rows are dealt to the devices in turn, like cards.

    Fillers stand at the end of a batch; dealt in turn, every device gets its share of
    real rows and leaves out its own fillers.
    """
    devices = mesh.size
    whole, turns = PartitionSpec(), PartitionSpec(None, "data")

    def local(frozen: Params, params: Params, batch: Batch, keys: Keys) -> Any:
        own = jax.tree.map(lambda a: a[:, 0], (batch, keys))
        return jax.lax.psum(summed(frozen, params, *own), "data")

    spread = jax.shard_map(
        local,
        mesh=mesh,
        in_specs=(whole, whole, turns, turns),
        out_specs=whole,
        check_vma=False,
    )

    def total(frozen: Params, params: Params, batch: Batch, keys: Keys) -> Any:
        rows = jax.tree.map(
            lambda a: a.reshape(-1, devices, *a.shape[1:]), (batch, keys)
        )
        return spread(frozen, params, *rows)

    return total


def clipped_sum(
    loss: Callable,
    clip: float,
    microbatch: int,
    params: Params,
    batch: Batch,
    keys: Keys,
) -> tuple[Scalar, Params]:
    """Sums over the real rows of a batch: losses, and gradients of norm at most `clip`.

    One image more or less changes the second by at most `clip` in norm; an image whose
    gradient is not finite adds nothing. Microbatches of fillers alone are left out.

    Args:
      loss: `loss(params, image, condition, key)`, a scalar.
      clip: largest norm; infinity for none.
      microbatch: images whose gradients are held at once.
      params: a tree of float32.
      batch: with `real` [b].
      keys: [b].
    """
    place = jnp.arange(-(-len(keys) // microbatch) * microbatch)
    row = jnp.minimum(place, len(keys) - 1)
    blocks = jax.tree.map(
        lambda a: a[row].reshape(-1, microbatch, *a.shape[1:]), (batch, keys)
    )
    real = blocks[0].real & (place < len(keys)).reshape(-1, microbatch)
    used = jnp.max(jnp.where(real.any(1), jnp.arange(1, len(real) + 1), 0))
    axes = (None, 0, None if batch.conditions is None else 0, 0)
    each = jax.vmap(jax.value_and_grad(loss), axes)

    def more(carry: tuple[Any, Scalar, Params]) -> tuple[Any, Scalar, Params]:
        i, value, total = carry
        one, key = jax.tree.map(lambda a: a[i], blocks)
        values, grads = each(params, one.images, one.conditions, key)
        total = _add_clipped(total, grads, clip, real[i])
        return i + 1, value + jnp.sum(jnp.where(real[i], values, 0.0)), total

    none = jax.tree.map(jnp.zeros_like, params)
    start = (jnp.zeros_like(used), jnp.zeros(()), none)
    _, value, total = jax.lax.while_loop(lambda c: c[0] < used, more, start)
    return value, total


def _add_clipped(
    total: Params, grads: Params, clip: float, real: Bool[Array, " m"]
) -> Params:
    """total + sum of w_i g_i, w_i = min(1, clip / |g_i|) for real rows, else 0."""
    leaves = jax.tree.leaves(grads)
    squares = [jnp.sum(jnp.square(g.reshape(len(g), -1)), axis=1) for g in leaves]
    norm = jnp.sqrt(functools.reduce(jnp.add, squares))
    good = real & jnp.isfinite(norm)
    weight = jnp.where(good, jnp.minimum(1.0, clip / norm), 0.0)

    def weighted(total: Params, grads: Params) -> Params:
        return jax.tree.map(lambda t, g: t + _dot(weight, g), total, grads)

    def wary(total: Params, grads: Params) -> Params:
        return weighted(total, jax.tree.map(functools.partial(_rows, good), grads))

    # 0 * NaN is NaN; the pass that puts zeros there is made only where it is needed.
    return jax.lax.cond(jnp.isfinite(norm).all(), weighted, wary, total, grads)


def _dot(weight: Float[Array, " m"], g: Float[Array, "m ..."]) -> Float[Array, "..."]:
    # In full precision: the bound on each image's part is the guarantee.
    return jnp.tensordot(weight, g, 1, precision=jax.lax.Precision.HIGHEST)


def _rows(good: Bool[Array, " m"], g: Float[Array, "m ..."]) -> Float[Array, "m ..."]:
    """The good rows; zeros for the others."""
    return jnp.where(good.reshape(-1, *[1] * (g.ndim - 1)), g, 0.0)


def private_spec(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The spec that a private run trains by: on CPU, convolutions as matrix products.

    The gradient of an ordinary convolution for each image is a grouped convolution,
    many times slower. Both are the same function of the same parameters; a network
    entry that says its `convolution` is left alone.
    """
    from score_mia.networks import NETWORKS
    from score_mia.registry import lookup, parameters

    entry = dict(spec["network"])
    known = parameters(lookup("network", NETWORKS, entry["name"]))
    if jax.default_backend() != "cpu" or "convolution" not in known:
        return spec
    return {**spec, "network": {"convolution": "patches", **entry}}


def _privacy(config: TrainConfig) -> Privacy:
    assert config.dp is not None
    return config.dp
