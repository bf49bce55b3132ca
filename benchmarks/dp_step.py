"""A private training step beside a plain one: same network, same expected batch.

    python benchmarks/dp_step.py

Six minutes on two CPU cores, most of it compilation. The steps are those of training:
gradient, noise, Adam, averaging; private ones have Poisson batches of their own sizes.
All take turns, so that a busy machine slows all alike; numbers are medians over
the rounds, ratios are to the plain step. "jax_privacy" is the same step with that
library's `clipped_grad` for the clipped sum. Writes benchmarks/results/dp_step.json.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from machine import machine
from training import Steps, steps

from score_mia import device
from score_mia.files import save_json
from score_mia.train import dp
from score_mia.train.config import Privacy, TrainConfig

RESULT = Path(__file__).resolve().parent / "results" / "dp_step.json"

_ROUNDS = flags.DEFINE_integer("rounds", 25, "timed steps of each variant", 1)
_ROWS = flags.DEFINE_integer("rows", 1000, "images in the training set", 1)
_BATCH = flags.DEFINE_integer("batch", 32, "expected images a step", 1)
_ONLY = flags.DEFINE_list("only", [], "variants to measure beside the plain step")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")

SPEC = {
    "network": {
        "name": "ddpm",
        "features": 32,
        "multipliers": (1, 2, 2),
        "blocks": 1,
        "attention": (8,),
        "dropout": 0.0,
    },
    "sde": {"name": "ddpm", "beta_max": 20.0},
    "parameterisation": {"name": "noise"},
    "codec": {"low": -1.0, "high": 1.0},
    "shape": (16, 16, 3),
}
PRIVACY = Privacy(delta=5e-4, noise_multiplier=2.98007)


def made(config: TrainConfig, gradient_of: Any = None) -> Steps:
    """The steps of a run on images of noise."""
    images = np.random.default_rng(0).random((_ROWS.value, *SPEC["shape"]), np.float32)
    return steps(SPEC, config, images, gradient_of)


def by_jax_privacy(join: Any, layout: Any, config: Any, m: Any, mesh: Any) -> Any:
    """The private gradient with `jax_privacy.clipped_grad` in microbatches of 8."""
    import jax_privacy

    objective, size = config.objective, -(-m.capacity // 8) * 8

    def loss(vector: Any, image: Any, key: Any) -> Any:
        return objective(join({}, layout.unravel(vector)), image, key)

    clipped = jax_privacy.clipped_grad(
        loss,
        l2_clip_norm=config.dp.clip,
        batch_argnums=(1, 2),
        keep_batch_dim=False,
        normalize_by=m.expected,
        return_values=True,
        microbatch_size=8,
    )
    # It takes rows i, i + size / 8, ... together; so do real rows come first.
    order = np.arange(size).reshape(-1, 8).T.ravel()

    def gradient(frozen: Any, vector: Any, batch: Any, key: Any) -> Any:
        del frozen
        fill = ((0, size - m.capacity), (0, 0), (0, 0), (0, 0))
        images = jnp.pad(batch.images, fill)[order]
        real = jnp.pad(batch.real, fill[0])[order]
        keys = jax.random.split(key, size)[order]
        grad, aux = clipped(vector, images, keys, is_padding_example=~real)
        return jnp.sum(jnp.where(real, aux.values, 0.0)) / m.expected, grad

    return gradient


def variants() -> dict[str, Steps]:
    plain = TrainConfig(steps=1000, batch=_BATCH.value, warmup=0, flip=False)

    def private(size: int) -> TrainConfig:
        chosen = dataclasses.replace(PRIVACY, microbatch=size)
        return dataclasses.replace(plain, dp=chosen)

    table = {f"microbatch {m}": made(private(m)) for m in (4, 8, 16)}
    table["jax_privacy"] = made(private(8), by_jax_privacy)
    chosen = {k: v for k, v in table.items() if not _ONLY.value or k in _ONLY.value}
    return {"plain": made(plain), **chosen}


def main(_: list[str]) -> None:
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    device.cache_compilations()
    found, compiling = variants(), {}
    for name, one in found.items():
        start = time.perf_counter()
        next(one)
        compiling[name] = round(time.perf_counter() - start, 1)
        print(f"{name}: first step after {compiling[name]} s", file=sys.stderr)
    rounds = [{k: next(s) for k, s in found.items()} for _ in range(_ROUNDS.value)]
    times = {k: statistics.median(r[k] for r in rounds) for k in found}
    paired = {k: statistics.median(r[k] / r["plain"] for r in rounds) for k in found}
    config = TrainConfig(steps=1000, batch=_BATCH.value, dp=PRIVACY)
    m = dp.mechanism(config, _ROWS.value)
    result = {
        "machine": machine(),
        "case": "ddpm nf=32 (1,2,2) 16x16x3, 1.10 M parameters",
        "batch": _BATCH.value,
        "capacity": m.capacity,
        "rounds": _ROUNDS.value,
        "milliseconds": {k: round(1000 * v, 1) for k, v in times.items()},
        "ratio": {k: round(v, 2) for k, v in paired.items()},
        "seconds_to_first_step": compiling,
    }
    print(result["milliseconds"], result["ratio"], sep="\n")
    save_json(_OUTPUT.value, result)


if __name__ == "__main__":
    app.run(main)
