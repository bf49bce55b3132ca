"""The loss attack: members are denoised better (Hu & Pang 2023, 2301.09956, Eqs. 5-7).

Their three losses are one in noise form: with the published weightings, which make
lambda(t) = std(t)^2, each is the mean squared error of the predicted noise. Every time
is a column here, and the rule that picks one is fitted on reference data.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from score_mia.attacks.draws import noise_at, over_draws
from score_mia.attacks.frequency import Filter
from score_mia.attacks.protocol import (
    LATER,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.pullback import Pullback
from score_mia.attacks.times import (
    check_times,
    chosen_times,
    column_names,
    columns_at,
    spent,
)
from score_mia.check import at_least
from score_mia.sde import SDE
from score_mia.target import Denoiser


@dataclasses.dataclass(frozen=True)
class Loss:
    """Minus the mean squared error of the predicted noise, one column per time.

        loss@t = -mean_r mean_i (eps_r - eps_theta(alpha x + std eps_r, t))_i^2

    A positive weighting of the times would not change the order of the images within
    a column, so there is none.

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; None for all steps of a discrete model and 1,000 times of a
        continuous one.
      draws: noises per time, averaged.
      chunk: bound on memory: (time, draw) pairs computed at once for each image.
      filter: which frequencies of the error count (`low`, `high`, `rest`), after FreMIA
        and FCRE; None for all.
      pullback: of latents, which dimensions count (`keep`, `probes`): those that the
        decoder makes most of, after VAE2Diffusion; None for all.
    """

    times: int | tuple[float, ...] | None = None
    draws: int = 1
    chunk: int = 10
    filter: Filter | None = dataclasses.field(default=None, metadata=LATER)
    pullback: Pullback | None = dataclasses.field(default=None, metadata=LATER)

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        at_least("draws", self.draws, 1)
        at_least("chunk", self.chunk, 1)
        check_times(self.times)

    def at(self, sde: SDE) -> np.ndarray:
        """The times [K] of the columns, float32, ascending as given.

        Raises:
          UserError: a time lies outside the process, is no step of a discrete model,
            or two share a column name.
        """
        return chosen_times(sde, self.times)

    def columns(self, model: Denoiser) -> Columns:
        """One column per time.

        Raises:
          UserError: see `at`; or a pullback, and no decoder that was learned.
        """
        times, title = self.at(model.sde), "Loss at one time"
        if self.filter is not None:
            title += f", {self.filter.words}"
        if self.pullback is not None:
            self.pullback.require_learned(model.codec)
            title += f", {self.pullback.words}"
        cost = float(len(times) * self.draws)
        return columns_at("loss", model.sde, times, cost, title)

    def names(self, sde: SDE) -> tuple[str, ...]:
        """ "loss@200" for a step, "loss@0.2100" for a continuous time.

        Four decimals where the process's clock is even in t, else four significant
        digits ("loss@0.003341", "loss@80").
        """
        return column_names("loss", sde, self.at(sde))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the losses of one image."""
        x, condition = model.codec.encode(query.image), query.condition
        taken = None
        if self.pullback is not None:
            taken = self.pullback.taken(model.codec, x, query.common)

        def error(t: Array, draw: Array) -> Array:
            noise = noise_at(query.key, draw, t, x.shape)
            noisy = model.sde.perturb(x, t, noise)
            wrong = noise - model.eps(noisy, t, condition)
            if self.filter is not None:
                wrong = self.filter(wrong)
            return jnp.mean(wrong**2, where=taken)

        errors = over_draws(error, self.at(model.sde), self.draws, self.chunk)
        return Reading(-jnp.mean(errors, axis=1), spent(errors.size))
