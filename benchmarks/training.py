"""Steps of a training, compiled and timed one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from score_mia import device
from score_mia.arrays import Params
from score_mia.checkpoint import parts
from score_mia.data.loader import Batches
from score_mia.target import Target
from score_mia.train import dp
from score_mia.train.config import TrainConfig
from score_mia.train.step import (
    Batch,
    Gradient,
    Layout,
    State,
    make_gradient,
    make_optimiser,
    make_program,
    make_step,
)

Steps = Iterator[float]
"""Each `next` makes one more step and tells its seconds."""


def begun(
    layout: Layout,
    params: Params,
    gradient: Gradient,
    optimiser: optax.GradientTransformation,
    config: TrainConfig,
    indexed: bool,
) -> tuple[Any, State]:
    """The program of a step on one device, and the state to begin with."""
    step = make_step(gradient, optimiser, config)
    vector = layout.ravel(params)
    state = State(
        vector, jnp.copy(vector), optimiser.init(vector), jnp.zeros((), jnp.int32)
    )
    return make_program(step, device.mesh(1), indexed), state


def steps(
    spec: dict[str, Any],
    config: TrainConfig,
    images: np.ndarray,
    gradient_of: Callable | None = None,
) -> Steps:
    """The steps of a run on these images, compiled before the first.

    Args:
      spec: of the target.
      config: of the training; a private one's batches have Poisson's own sizes.
      images: [n, h, w, c] in [0, 1].
      gradient_of: what makes the private gradient, `dp.make_private_gradient`'s way.
    """
    n = len(images)
    private = None if config.dp is None else dp.mechanism(config, n)
    p = parts(spec if private is None else dp.private_spec(spec))
    params = p.network.init(jax.random.key(0))
    layout = Layout(params)

    def join(frozen: Any, trained: Any) -> Target:
        del frozen
        return p.target(trained)

    if private is None:
        batches = Batches(n, config.batch, config.seed)
        optimiser = make_optimiser(config)
        gradient = make_gradient(join, layout, config.objective)
    else:
        batches = dp.make_batches(config, private)
        optimiser = make_optimiser(config, dp.make_privatiser(config, private))
        gradient_of = gradient_of or dp.make_private_gradient
        gradient = gradient_of(join, layout, config, private, device.mesh(1))
    program, state = begun(layout, params, gradient, optimiser, config, True)
    data, key = Batch(jnp.asarray(images)), jax.random.key(1)

    def rows(step: int) -> Any:
        return jnp.asarray(batches.indices(step).astype(np.int32))

    compiled = program.lower(state, data, rows(0), key).compile()
    step = 0
    while True:
        given = rows(step)
        start = time.perf_counter()
        state, loss = compiled(state, data, given, key)
        jax.block_until_ready((state, loss))
        yield time.perf_counter() - start
        step += 1
