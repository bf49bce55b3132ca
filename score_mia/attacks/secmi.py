"""SecMI's statistic: a member comes back where it was (Duan et al. 2023, 2302.01316).

The image is moved up to level t by deterministic DDIM with the network, in strides of
k; then once more up to t + k and down to t. How far it then is from where it was is the
*t-error* (their Eqs. 8 and 9), and members have the smaller one.

The paper's cost at t = 100, k = 10 is ten moves up and two more. Its published code
lays out its grid so that it ends at t = 90 and turns round there, with 11 evaluations;
this follows the text.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Scalar
from score_mia.attacks.protocol import (
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_levels, columns_at, spent, strided
from score_mia.check import at_least, require
from score_mia.sampling import Ddim
from score_mia.sde import SDE
from score_mia.target import Denoiser


@dataclasses.dataclass(frozen=True)
class Secmi:
    """Minus the squared t-error, one column per level.

        secmi@t = -|| D(D(x_t; t -> t+k); t+k -> t) - x_t ||^2
        D(x; t -> u) = alpha_u x0(x, t) + std_u eps(x, t)

    x_t is the image moved up deterministically, where the image itself is taken to be
    at the first time. All levels lie on one way up, so n of them cost n - 1 evaluations
    more than the last alone.

    Attributes:
      levels: t, out of 1,000 on the process's own clock, each a multiple of `step`.
      step: k, out of 1,000 too.
    """

    levels: tuple[int, ...] = (100,)
    step: int = 10

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        at_least("step", self.step, 1)
        check_levels(self.levels)
        check_levels((max(self.levels) + self.step,))
        ok = all(level > 0 and level % self.step == 0 for level in self.levels)
        problem = f"are not all multiples of step={self.step} above 0"
        require(ok, f"levels={self.levels}", problem, "give such, or another step")

    def way(self, sde: SDE) -> Float[np.ndarray, " n"]:
        """The times from the image up to one stride above the last level, float32.

        Raises:
          UserError: the strides are shorter than the process's own steps.
        """
        top = max(self.levels) + self.step
        return strided(sde, np.arange(0, top + 1, self.step), self.step)

    def columns(self, model: Denoiser) -> Columns:
        """One column per level."""
        times = self.way(model.sde)[self._places]
        return columns_at("secmi", model.sde, times, self._evaluations, "SecMI")

    @property
    def _places(self) -> np.ndarray:
        """Of the levels on the way up."""
        return np.asarray(self.levels) // self.step

    @property
    def _evaluations(self) -> float:
        """Up to the stride above the last level, then down once from above each."""
        return float(max(self.levels) // self.step + 1 + len(self.levels))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the t-errors of one image."""
        times, places = jnp.asarray(self.way(model.sde)), self._places
        told, sampler = model.embed(query.condition), Ddim(denoise=False)
        clean = model.codec.encode(query.image)
        top, before = sampler.run(
            model, clean, times, query.key, told, lambda x, x0, t: x
        )
        states = jnp.concatenate([before, top[None]])

        def error(place: Array) -> Scalar:
            ends = times[place + 1], times[place]
            above = states[place + 1]
            back, _ = sampler.run(model, above, jnp.stack(ends), query.key, told)
            return jnp.sum((back - states[place]) ** 2)

        errors = jax.lax.map(error, jnp.asarray(places))
        return Reading(-errors, spent(self._evaluations))
