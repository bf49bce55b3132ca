"""A signal so cheap that what is measured is all that surrounds it."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks.protocol import Columns, Query, Reading

SPEC = {
    "network": {"name": "mlp", "features": 32, "blocks": 1},
    "sde": {"name": "vp"},
    "parameterisation": {"name": "noise"},
    "codec": {"name": "affine"},
    "shape": (8, 8, 1),
}


@dataclasses.dataclass(frozen=True)
class Cheap:
    """The loss of one draw at one time."""

    access: ClassVar = "scores"
    needs: ClassVar = ()

    def columns(self, model: Any) -> Columns:
        """One number."""
        return Columns(("loss",), diagnostics=("network_evaluations",))

    def __call__(self, model: Any, query: Query, products: Any) -> Reading:
        """Minus the loss."""
        noise = jax.random.normal(query.key, query.image.shape)
        x = model.sde.perturb(model.codec.encode(query.image), 0.3, noise)
        loss = jnp.mean((model.eps(x, 0.3) - noise) ** 2)
        return Reading(-loss[None], jnp.ones(1))


class Digits:
    """Images of noise, with ids."""

    digest = "noise"

    def __init__(self, count: int) -> None:
        self.pixels = np.random.default_rng(0).random((count, *SPEC["shape"]), "f4")

    def images(self, ids: np.ndarray) -> np.ndarray:
        """float32 [n, h, w, c]."""
        return self.pixels[ids]
