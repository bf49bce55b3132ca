"""SimA: little noise is seen in what was learned (Rao et al. 2025, 2509.25003).

The noise that the best network predicts points away from a mean of the training images
near by, weighted by a kernel that is the narrower the lower the noise. Near one of them
it is small. So the image is shown without any noise, and the size of what the network
sees is the statistic: one evaluation a time.

At time t the training images lie at alpha(t) x, so that is where the image is shown.
The published code shows it unscaled (`scaled=False`), which is nearly the same at low
noise, and the same for VE, whose alpha is 1.

SimA-MC, their Monte Carlo variant, is known here by its abstract only. `draws` is after
it: the mean of the predictions for several noises, whose expectation is what the theory
speaks of; then its size.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.draws import noise_at, over_draws, power
from score_mia.attacks.protocol import (
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_times, chosen_times, columns_at, spent
from score_mia.check import at_least
from score_mia.sde import SDE
from score_mia.target import Denoiser

USUAL = (10, 50, 100, 150, 200, 300)
"""Levels out of 1,000: the range in which the paper looks, 10 to 300."""


@dataclasses.dataclass(frozen=True)
class Sima:
    """Minus the size of the noise that is seen in the image, one column per time.

        sima@t    = -sum_i |eps(alpha x, t)|_i^p
        sima_mc@t = -sum_i |mean_r eps(alpha x + std eps_r, t)|_i^p

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; None for levels 10 to 300 of 1,000.
      order: p.
      draws: noises per time, over which predictions are averaged; 0 for none at all.
      scaled: show the image at alpha(t) x; else at x.
      chunk: bound on memory: (time, draw) pairs computed at once for each image.
    """

    times: int | tuple[float, ...] | None = None
    order: float = 4.0
    draws: int = 0
    scaled: bool = True
    chunk: int = 10

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_times(self.times)
        at_least("order", self.order, 1.0)
        at_least("draws", self.draws, 0)
        at_least("chunk", self.chunk, 1)

    def at(self, sde: SDE) -> Float[np.ndarray, " k"]:
        """The times of the columns, float32.

        Raises:
          UserError: see `attacks.times.chosen_times`.
        """
        return chosen_times(sde, self.times, USUAL)

    def columns(self, model: Denoiser) -> Columns:
        """One column per time."""
        times, mc = self.at(model.sde), self.draws > 0
        cost = float(len(times) * max(self.draws, 1))
        what, title = ("sima_mc", "SimA-MC") if mc else ("sima", "SimA")
        return columns_at(what, model.sde, times, cost, title)

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the sizes for one image."""
        sde, times = model.sde, self.at(model.sde)
        x, told = model.codec.encode(query.image), model.embed(query.condition)

        def seen(t: Array, draw: Array) -> Array:
            shown = sde.alpha(t) * x if self.scaled else x
            if self.draws:
                shown = shown + sde.std(t) * noise_at(query.key, draw, t, x.shape)
            return model.eps(shown, t, told)

        count = max(self.draws, 1)
        noise = jnp.mean(over_draws(seen, times, count, self.chunk), axis=1)
        sizes = jax.vmap(lambda one: power(one, self.order))(noise)
        return Reading(-sizes, spent(float(len(times) * count)))
