"""Gradient norms layer by layer, as in GSA_1 (Pang et al. 2025, 2308.06405)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks import Columns, Reading


@dataclasses.dataclass(frozen=True)
class Gsa:
    """-|| d loss / d w || for each array w of the network, of the mean loss over times.

    What comes out of the program is one number per layer: the gradient itself stays on
    the device.

    Attributes:
      count: how many times, spread by the process's clock; one noise at each.
    """

    access: ClassVar[str] = "gradients"
    needs: ClassVar[tuple] = ()
    count: int = 10

    def columns(self, model):
        leaves = jax.tree.leaves_with_path(model.params)
        return Columns(
            tuple(
                f"norm/{jax.tree_util.keystr(path, simple=True, separator='/')}"
                for path, _ in leaves
            ),
            diagnostics=("network_evaluations",),
            evaluations=float(self.count),
            bytes_per_row=sum(4 * leaf.size for _, leaf in leaves),
            title="Gradient norms",
        )

    def noise(self, key, shape):
        """What is added to an image at each of the times, [count, *shape]."""
        return jax.random.normal(key, (self.count, *shape), jnp.float32)

    def __call__(self, model, query, products):
        x = model.codec.encode(query.image)
        times = jnp.asarray(model.sde.times(self.count))

        def loss(params):
            eps = dataclasses.replace(model, params=params).denoiser.eps

            def error(t, noise):
                noisy = model.sde.perturb(x, t, noise)
                return jnp.mean((noise - eps(noisy, t, query.condition)) ** 2)

            noise = self.noise(query.key, x.shape)
            return jnp.mean(jax.vmap(error)(times, noise))

        gradient = jax.tree.leaves(jax.grad(loss)(model.params))
        norms = jnp.stack([jnp.sqrt(jnp.sum(leaf**2)) for leaf in gradient])
        return Reading(-norms, jnp.full(1, np.float32(self.count)))
