"""A network of a user's own package, and the smallest specs and data to train it on."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Built(NamedTuple):
    init: Any
    apply: Any


@dataclasses.dataclass(frozen=True)
class Affine:
    """eps = A[t] x + b[t], one map per time: contains the optimum for Gaussian data."""

    steps: int = 10

    def build(self, shape):
        return Built(_Init(self.steps, int(np.prod(shape))), _affine)


@dataclasses.dataclass(frozen=True)
class _Init:
    steps: int
    d: int

    def __call__(self, key):
        return {
            "matrix": jnp.zeros((self.steps, self.d, self.d)),
            "offset": jnp.zeros((self.steps, self.d)),
        }


def _affine(params, x, label, condition=None, *, dropout_key=None):
    row = label.astype(jnp.int32)
    flat = x.reshape(len(x), -1)
    out = jnp.einsum("bij,bj->bi", params["matrix"][row], flat)
    return (out + params["offset"][row]).reshape(x.shape)


AFFINE = {
    "network": {"name": "tests.train.toys:Affine"},
    "sde": {"name": "ddpm", "beta_max": 0.9, "steps": 10},
    "parameterisation": {"name": "noise"},
    "codec": {"low": -5.0, "high": 5.0},
    "shape": [1, 2, 1],
}

MLP = {
    "network": {"name": "mlp", "features": 8, "blocks": 1, "dropout": 0.1},
    "sde": {"name": "vp"},
    "parameterisation": {"name": "noise", "scale": 999.0},
    "codec": {"low": -1.0, "high": 1.0},
    "shape": [2, 2, 1],
}


def images(n, shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(n, *shape)).astype(np.float32)


def joined(target):
    """What a gradient asks of a target all of whose parameters are trained."""
    return lambda frozen, params: dataclasses.replace(target, params=params)
