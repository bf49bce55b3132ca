from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from score_mia.check import UserError
from score_mia.clock import UniformClock
from score_mia.spec import parts
from score_mia.train.config import TrainConfig
from score_mia.train.loss import Objective
from score_mia.train.step import (
    Batch,
    Layout,
    State,
    ema_decay,
    make_gradient,
    make_optimiser,
    make_step,
)
from tests.train.toys import MLP, images, joined

SLOPE = jnp.asarray([1.0, -2.0])


def straight(frozen, params, batch, key):
    """A loss whose gradient is constant."""
    return jnp.sum(params * SLOPE), SLOPE


def descend(config, count):
    """Parameters p_0 ... p_n and averages of n steps of plain descent."""
    optimiser = optax.sgd(0.5)
    start = jnp.asarray([3.0, 4.0])
    zero = jnp.zeros((), jnp.int32)
    state = State(start, start, optimiser.init(start), zero)
    step = jax.jit(make_step(straight, optimiser, config))
    trace = [state]
    for _ in range(count):
        trace.append(step(trace[-1], Batch(jnp.zeros(1)), jax.random.key(0))[0])
    return trace


def test_ema_has_its_closed_form():
    trace = descend(TrainConfig(steps=1, ema=0.9, ema_warmup=False), 6)
    p = [np.array([3.0, 4.0]) - 0.5 * n * np.array([1.0, -2.0]) for n in range(7)]
    want = 0.9**6 * p[0] + sum(0.1 * 0.9 ** (6 - i) * p[i] for i in range(1, 7))
    np.testing.assert_allclose(trace[-1].params, p[-1], rtol=1e-6)
    np.testing.assert_allclose(trace[-1].ema, want, rtol=1e-5)
    assert int(trace[-1].step) == 6


def test_warm_ema_follows_the_published_recursion():
    trace = descend(TrainConfig(steps=1, ema=0.3), 8)
    average = np.array([3.0, 4.0])
    for n in range(1, 9):
        decay = min(0.3, (1 + n) / (10 + n))
        p = np.array([3.0, 4.0]) - 0.5 * n * np.array([1.0, -2.0])
        average = average - (1 - decay) * (average - p)
        np.testing.assert_allclose(trace[n].ema, average, rtol=1e-5)
    late = ema_decay(TrainConfig(steps=1), jnp.int32(10**6))
    assert float(late) == np.float32(0.9999)


def updates(config, gradients, params):
    optimiser = make_optimiser(config)
    state = optimiser.init(params)
    for grad in gradients:
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimiser.update(jnp.asarray(grad), state, params)
        params = params + update
        yield np.asarray(update), np.asarray(params)


def test_learning_rate_climbs_linearly_from_zero():
    config = TrainConfig(steps=1, learning_rate=0.5, warmup=4, clip=None)
    found = [
        u[0] for u, _ in updates(config, [np.ones(2, np.float32)] * 7, jnp.ones(2))
    ]
    want = [0.0, -0.125, -0.25, -0.375, -0.5, -0.5, -0.5]
    np.testing.assert_allclose(found, want, rtol=3e-5)  # float32 moments
    cold = TrainConfig(steps=1, learning_rate=0.5, warmup=0)
    first, _ = next(updates(cold, [np.ones(2, np.float32)], jnp.ones(2)))
    np.testing.assert_allclose(first, -0.5, rtol=3e-5)


def test_learning_rate_falls_to_zero_at_the_end():
    config = TrainConfig(steps=6, learning_rate=0.5, warmup=2, decay=4, clip=None)
    found = [
        u[0] for u, _ in updates(config, [np.ones(2, np.float32)] * 6, jnp.ones(2))
    ]
    want = [0.0, -0.25, -0.5, -0.375, -0.25, -0.125]
    np.testing.assert_allclose(found, want, rtol=3e-5)
    clock = UniformClock()
    longer = dataclasses.replace(config, steps=8)
    assert longer.science(clock) != config.science(clock)  # another rate at step 3
    plain = dataclasses.replace(config, decay=0)
    assert "decay" not in plain.science(clock)


def test_optimiser_is_clipped_l2_penalised_adam():
    config = TrainConfig(
        steps=1, learning_rate=0.1, beta1=0.8, beta2=0.95, epsilon=1e-3,
        weight_decay=0.2, warmup=2, clip=1.5,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 5)).astype(np.float32)
    gradients[::2] *= 0.1  # some below the clip, some above
    params = rng.normal(size=5)
    found = list(updates(config, gradients, jnp.asarray(params, jnp.float32)))
    m = v = np.zeros(5)
    for n, grad in enumerate(gradients.astype(np.float64)):
        norm = np.linalg.norm(grad)
        grad = grad * min(1.0, 1.5 / norm) + 0.2 * params
        m, v = 0.8 * m + 0.2 * grad, 0.95 * v + 0.05 * grad**2
        m_hat, v_hat = m / (1 - 0.8 ** (n + 1)), v / (1 - 0.95 ** (n + 1))
        params = params - 0.1 * min(n / 2, 1) * m_hat / (np.sqrt(v_hat) + 1e-3)
        np.testing.assert_allclose(found[n][1], params, rtol=1e-5)


def test_layout_is_jaxs_own_order_and_comes_back():
    tree = {"b": {"w": jnp.arange(6.0).reshape(2, 3)}, "a": jnp.ones(()), "c": SLOPE}
    layout = Layout(jax.eval_shape(lambda: tree))
    vector = layout.ravel(tree)
    assert np.array_equal(vector, ravel_pytree(tree)[0])
    back = layout.unravel(vector)
    jax.tree.map(np.testing.assert_array_equal, back, tree)


def test_gradient_is_that_of_the_mean_over_images():
    p = parts(MLP)
    target = p.target(p.network.init(jax.random.key(0)))
    layout, objective = Layout(target.params), Objective(reduce_mean=False)
    batch = Batch(jnp.asarray(images(3, (2, 2, 1))))
    vector, key = layout.ravel(target.params), jax.random.key(5)
    gradient = jax.jit(make_gradient(joined(target), layout, objective))
    loss, grad = gradient({}, vector, batch, key)
    keys = jax.random.split(key, 3)
    each = [objective(target, i, k) for i, k in zip(batch.images, keys, strict=True)]
    np.testing.assert_allclose(float(loss), np.mean(each), rtol=1e-5)
    direction = jax.random.normal(jax.random.key(1), vector.shape)
    h = 1e-2
    ahead = gradient({}, vector + h * direction, batch, key)[0]
    behind = gradient({}, vector - h * direction, batch, key)[0]
    slope = float((ahead - behind) / (2 * h))
    np.testing.assert_allclose(float(grad @ direction), slope, rtol=5e-3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0), ("learning_rate", float("nan")), ("beta1", 1.0),
        ("ema", 1.2), ("clip", 0.0), ("warmup", -1), ("decay", 11),
        ("weighting", "nose"), ("log_every", True), ("steps_per_call", 0),
        ("weight_decay", -0.1), ("accumulate", 0), ("accumulate", 5),
    ],
)  # fmt: skip
def test_wrong_values_are_named_with_their_bound(field, value):
    with pytest.raises(UserError, match=f"{field}=.*; "):
        TrainConfig(**{"steps": 10, field: value})
