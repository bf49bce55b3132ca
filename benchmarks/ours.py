"""score_mia's side of beside.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from rows import row_of
from training import steps
from worker import Call, serve

from score_mia import device
from score_mia.attacks import Likelihood, Loss
from score_mia.checkpoint import load_target
from score_mia.networks import DDPMNet
from score_mia.parameterisation import Noise
from score_mia.sde import DDPM
from score_mia.target import Target
from score_mia.train.config import TrainConfig

device.cache_compilations()


def fields(case: dict[str, Any]) -> dict[str, Any]:
    """Of its network, as they were before they were JSON."""
    given = case["network"].items()
    return {k: tuple(v) if isinstance(v, list) else v for k, v in given}


def network(case: dict[str, Any]) -> tuple[Any, Any]:
    built = DDPMNet(**fields(case)).build(tuple(case["shape"]))
    return built, device.jit(built.init)(jax.random.key(0))


def forward(case: dict[str, Any]) -> dict[str, Call]:
    built, params = network(case)
    x = jax.random.normal(jax.random.key(1), (case["batch"], *case["shape"]))
    label = jnp.full((case["batch"],), 3.0)

    def timed(jit: Any) -> Call:
        program = jit(built.apply).lower(params, x, label).compile()

        def call() -> tuple[int, dict[str, Any]]:
            program(params, x, label).block_until_ready()
            return case["batch"], {}

        return call

    size = device.size(params)
    return {
        "": timed(lambda f: device.jit(f, parameters=size)),
        " JAX's defaults": timed(jax.jit),
        " older convolutions": timed(device.jit),
    }


def reading(signal: Any, target: Target, images: jax.Array) -> Any:
    """A compiled program that reads all images at once, as the engine has it."""
    keys = jax.random.split(jax.random.key(2), len(images))
    program = device.jit(
        jax.vmap(row_of(signal), (None, 0, 0)), parameters=device.size(target.params)
    )
    compiled = program.lower(target, images, keys).compile()
    return lambda: jax.block_until_ready(compiled(target, images, keys))


def sweep(case: dict[str, Any]) -> dict[str, Call]:
    built, params = network(case)
    target = Target(params, DDPM(), Noise(), built.apply)
    images = jax.random.uniform(jax.random.key(1), (1, *case["shape"]))
    read = reading(Loss(chunk=200), target, images)

    def call() -> tuple[int, dict[str, Any]]:
        read()
        return len(images), {}

    return {"": call}


def likelihood(case: dict[str, Any]) -> dict[str, Call]:
    target = load_target(case["target"])
    images = jnp.asarray(np.load(f"{case['scratch']}/images.npz")["images"])

    read = reading(Likelihood(probes=1), target, images)

    def call() -> tuple[int, dict[str, Any]]:
        facts = np.asarray(read().diagnostics)
        told = {
            "evaluations": float(facts[:, 0].mean()),
            "bits_per_dim": [round(float(b), 4) for b in facts[:, 3][:4]],
        }
        return len(images), told

    return {"": call}


def train_step(case: dict[str, Any]) -> dict[str, Call]:
    spec = {
        "network": {"name": "ddpm", **fields(case), "dropout": 0.0},
        "sde": {"name": "ddpm", "beta_max": 20.0},
        "parameterisation": {"name": "noise"},
        "codec": {"low": -1.0, "high": 1.0},
        "shape": tuple(case["shape"]),
    }
    images = np.random.default_rng(0).random((256, *case["shape"]), np.float32)
    config = TrainConfig(steps=1000, batch=case["batch"], warmup=0, flip=False)
    making = steps(spec, config, images)
    next(making)

    def call() -> tuple[int, dict[str, Any]]:
        next(making)
        return case["batch"], {}

    return {"": call}


KINDS = {f.__name__: f for f in (forward, sweep, likelihood, train_step)}
"""Of cases -> what makes the calls of one, compiled."""


if __name__ == "__main__":
    serve(KINDS)
