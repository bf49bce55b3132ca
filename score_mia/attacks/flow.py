"""Attacks on rectified flows: after Rao & Moyer 2026, 2603.13421.

Its abstract is known here, not its text: three statistics, T_naive, its Monte Carlo
mean T_mc, and T_mc by the compressed size of the image; the leak of a flow is greatest
in the middle of its path. Here T_naive is the error of the predicted velocity for one
noise and T_mc its mean over several. Dividing by what an image's complexity makes of it
is a matter of its own, for any signal.

A straight path from the image to the noise is one way to go through the noise levels
that every process has, so the statistic is defined for all of them: at the same
log-SNR, with the noise that the network predicts.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.draws import noise_at, over_draws
from score_mia.attacks.protocol import (
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import columns_at, spent
from score_mia.check import at_least, require
from score_mia.sde import SDE
from score_mia.target import Denoiser


@dataclasses.dataclass(frozen=True)
class StraightPath:
    """Minus the squared error of the velocity on the straight path, column by place.

        flow@t = -mean_r mean_i (u(x_t, t) - (z_r - x))_i^2
        u(x_t, t) = eps(x_t, t) - x0(x_t, t)

    x_t has the noise level of the place s = std / (std + alpha), 0 at the image and 1
    at the noise. As u - (z - x) = (eps - z) (1 + std / alpha), a column orders images
    as the loss does at its time with the same noises: what is its own are the places,
    its unit, and that all images are noised by the same noises.

    Attributes:
      places: s, between 0 and 1.
      draws: noises per place; 1 is T_naive, more are T_mc.
      chunk: bound on memory: (place, draw) pairs computed at once for each image.
    """

    places: tuple[float, ...] = (0.25, 0.5, 0.75)
    draws: int = 1
    chunk: int = 10

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        require(len(self.places) > 0, "places=()", "is empty", "name a place")
        for place in self.places:
            remedy = "give a number between 0 and 1"
            require(0 < place < 1, f"places={place!r}", "is no place on a path", remedy)
        at_least("draws", self.draws, 1)
        at_least("chunk", self.chunk, 1)

    def at(self, sde: SDE) -> Float[np.ndarray, " k"]:
        """The times of the columns, float32; of a discrete model, its nearest steps.

        Raises:
          UserError: the process does not reach a place's noise level.
        """
        return _times(sde, self.places)

    def columns(self, model: Denoiser) -> Columns:
        """One column per place."""
        times, title = self.at(model.sde), "Flow (T_mc)"
        if self.draws == 1:
            title = "Flow (T_naive)"
        cost = float(len(times) * self.draws)
        return columns_at("flow", model.sde, times, cost, title)

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the errors of one image."""
        sde, times = model.sde, self.at(model.sde)
        x, told = model.codec.encode(query.image), model.embed(query.condition)

        def error(t: Array, draw: Array) -> Array:
            z = noise_at(query.common, draw, t, x.shape)
            away = model.eps(sde.perturb(x, t, z), t, told) - z
            return jnp.mean(((1 + sde.std(t) / sde.alpha(t)) * away) ** 2)

        errors = over_draws(error, times, self.draws, self.chunk)
        return Reading(-jnp.mean(errors, axis=1), spent(float(errors.size)))


@functools.lru_cache(maxsize=64)
def _times(sde: SDE, places: tuple[float, ...]) -> Float[np.ndarray, " k"]:
    """The times of places on the path, read-only; each search would be compiled anew.

    Raises:
      UserError: see `StraightPath.at`.
    """
    s = np.asarray(places, np.float64)
    wanted = 2 * np.log((1 - s) / s)
    # Constants of the program, even where it is being traced.
    with jax.ensure_compile_time_eval():
        times = np.asarray([sde.time_at(level) for level in wanted], np.float32)
        ends = np.asarray([sde.log_snr(sde.t0), sde.log_snr(sde.t1)], np.float64)
    low, high = 1 / (1 + np.exp(ends / 2))
    ok = bool(((wanted <= ends[0]) & (wanted >= ends[1])).all())
    remedy = f"give some from {low:.4f} to {high:.4f}"
    problem = "are more or less noise than the process has"
    require(ok, f"places={places}", problem, remedy)
    times = times if sde.discrete_steps is None else np.rint(times)
    times.flags.writeable = False
    return times
