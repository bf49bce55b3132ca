"""Losses and their gradients over all times (Tracing the Roots, NeurIPS 2025).

After that paper: a linear classifier on three numbers at each time t of a diffusion
trajectory,

    L_t                   the denoising loss
    || d L_t / d x ||     of its gradient by the image
    || d L_t / d theta || of its gradient by all parameters

all of one forward and one backward pass. No single time is chosen: what tells members
apart lies in all of them together, so the rule is "logistic" or another that weighs.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Params, Scalar
from score_mia.attacks.draws import denoising_loss, noise_at
from score_mia.attacks.gsa import FORWARDS, fitted, tensor_norms
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_times, chosen_times, columns_of, spent
from score_mia.target import Target

KINDS = ("loss", "by_image", "by_weights")


@dataclasses.dataclass(frozen=True)
class Roots:
    """Minus the loss, and minus the norms of its two gradients, at each time.

    The gradient by the image is that by x in the model's own space, before it is
    noised; by the noised x_t it would be 1 / alpha(t) times as long, for every image.

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; None for all steps of a discrete model and 1,000 times of a
        continuous one, as in the paper. One noise at each.
    """

    times: int | tuple[float, ...] | None = 100

    access: ClassVar[Access] = "gradients"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_times(self.times)

    def columns(self, model: Target) -> Columns:
        """ "loss@200", "by_image@200", "by_weights@200": kind by kind."""
        sde, times = model.sde, chosen_times(model.sde, self.times)
        return Columns(
            columns_of(KINDS, sde, times),
            np.tile(times, len(KINDS)),
            (NETWORK_EVALUATIONS,),
            float(FORWARDS * len(times)),
            bytes_per_row=sum(4 * leaf.size for leaf in jax.tree.leaves(model.params)),
            title="Losses and gradients over time",
        )

    def __call__(self, model: Target, query: Query, products: Any = ()) -> Reading:
        """Minus the 3 K numbers of one image."""
        times = jnp.asarray(chosen_times(model.sde, self.times))
        x = model.codec.encode(query.image)

        def at(t: Scalar) -> Float[Array, "3"]:
            noise = noise_at(query.key, 0, t, x.shape)

            def loss(params: Params, x: Float[Array, "..."]) -> Scalar:
                return denoising_loss(
                    fitted(model, params), x, t, noise, query.condition
                )

            both = jax.value_and_grad(loss, argnums=(0, 1))
            value, (by_weights, by_image) = both(model.params, x)
            whole = jnp.linalg.norm(tensor_norms(jax.tree.leaves(by_weights)))
            return jnp.stack([value, jnp.linalg.norm(by_image.ravel()), whole])

        found = jax.lax.map(at, times)  # one gradient at a time is held
        return Reading(-found.T.ravel(), spent(len(times)))
