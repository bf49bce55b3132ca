"""PFAMI's statistic: a member is better known than its neighbours (Fu et al. 2023).

"A Probabilistic Fluctuation based Membership Inference Attack for Diffusion Models"
(2308.12143), the metric variant. An image that was trained on lies at a peak of the
model's density: changed a little, it is told less well. Other images lie on a slope,
where as much is gained as lost. The changes are centre crops, resized back.

The image and its neighbours are noised by the same noise: only so is the difference of
their losses one of the images. Published code draws anew for each.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image
from score_mia.attacks.draws import chunked, denoising_loss, noise_at
from score_mia.attacks.protocol import (
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_times, chosen_times, columns_at, spent
from score_mia.check import at_least, require
from score_mia.sde import SDE
from score_mia.target import Denoiser

USUAL = tuple(range(0, 500, 50))
"""Their levels, out of 1,000."""

_LEAST = 1e-12
"""A loss by which one may divide: that of an exact memory is 0."""


@dataclasses.dataclass(frozen=True)
class Pfami:
    """How much better the image is denoised than its neighbours, one column per time.

        pfami@t = mean_j (L_t(x_j) - L_t(x)) / L_t(x)

    with the loss L_t in noise form, averaged over the draws, and x_j the crops. Their
    statistic is the sum over the times, which is the rule `mean` that knows nothing.

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; None for levels 0, 50 ... 450 of 1,000.
      neighbours: crops, of sides from `largest` to `smallest`, evenly.
      largest, smallest: sides of the crops, as shares of the image's. They need not be
        whole pixels; what is seen is interpolated linearly.
      draws: noises per time, each for the image and all its neighbours.
      chunk: bound on memory: evaluations made at once for each image.
    """

    times: int | tuple[float, ...] | None = None
    neighbours: int = 10
    largest: float = 0.95
    smallest: float = 0.7
    draws: int = 1
    chunk: int = 11

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_times(self.times)
        for name in ("neighbours", "draws", "chunk"):
            at_least(name, int(vars(self)[name]), 1)
        ok = 0 < self.smallest <= self.largest < 1
        problem = "are no sides of crops, as shares of the image's"
        sides = f"smallest={self.smallest!r}, largest={self.largest!r}"
        require(ok, sides, problem, "give 0 < smallest <= largest < 1")

    def at(self, sde: SDE) -> Float[np.ndarray, " k"]:
        """The times of the columns, float32.

        Raises:
          UserError: see `attacks.times.chosen_times`.
        """
        return chosen_times(sde, self.times, USUAL)

    @property
    def sides(self) -> Float[np.ndarray, " neighbours"]:
        """Of the crops, float32."""
        ends = (self.largest, self.smallest)
        return np.linspace(*ends, self.neighbours, dtype=np.float32)

    def columns(self, model: Denoiser) -> Columns:
        """One column per time."""
        times = self.at(model.sde)
        return columns_at("pfami", model.sde, times, self._cost(len(times)), "PFAMI")

    def _cost(self, times: int) -> float:
        return float(times * self.draws * (1 + self.neighbours))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """The relative changes of the loss of one image."""
        times, told = self.at(model.sde), model.embed(query.condition)

        def encoded(side: Array) -> Array:
            return model.codec.encode(cropped(query.image, side))

        crops = jax.lax.map(encoded, jnp.asarray(self.sides))
        views = jnp.concatenate([model.codec.encode(query.image)[None], crops])

        def loss(row: tuple[Array, Array, Array]) -> Array:
            t, draw, view = row
            noise = noise_at(query.key, draw, t, views.shape[1:])
            return denoising_loss(model, views[view], t, noise, told)

        shape = (len(times), self.draws, len(views))
        time, draw, view = (a.ravel() for a in np.indices(shape))
        rows = tuple(map(jnp.asarray, (times[time], draw, view)))
        losses = chunked(loss, rows, self.chunk).reshape(shape).mean(axis=1)
        own = losses[:, 0]
        change = jnp.mean(losses[:, 1:] - own[:, None], axis=1)
        cost = self._cost(len(times))
        return Reading(change / jnp.maximum(own, _LEAST), spent(cost))


def cropped(image: Image, side: Array) -> Image:
    """The middle of an image, of so much of its height and width, at the old size."""
    height, width, _ = image.shape
    scale = jnp.stack([1 / side, 1 / side])
    # What lies at y is taken from the middle + side (y - middle), which is inside.
    move = (1 - scale) * jnp.asarray([height, width], jnp.float32) / 2
    return jax.image.scale_and_translate(
        image, image.shape, (0, 1), scale, move, "linear", antialias=False
    )
