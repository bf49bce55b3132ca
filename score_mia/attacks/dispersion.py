"""How far the noise that is seen moves with the level: after Li, Chen & Fan 2025.

"Noise Aggregation Analysis Driven by Small-Noise Injection" (2510.21783). Its abstract
and summaries are known here, not its text: a little noise is injected, the network is
asked at neighbouring levels of little noise, and members are those whose predicted
noises lie close together. How closeness is measured there is not known; here it is the
variance over the levels, averaged over the entries of x.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.draws import chunked, noise_at
from score_mia.attacks.protocol import (
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_levels, columns_at, spent, strided
from score_mia.check import at_least
from score_mia.sde import SDE
from score_mia.target import Denoiser


@dataclasses.dataclass(frozen=True)
class Dispersion:
    """Minus the variance of the predicted noise over neighbouring levels.

        dispersion@t = -mean_i var_s eps(alpha_s x + std_s z, s)_i,  s = t, t + k, ...

    with one noise z for all levels s of a column, so that only what the network makes
    of the image differs between them.

    Attributes:
      levels: t, out of 1,000 on the process's own clock, one column each.
      window: levels s that are looked at for each column.
      step: k, from one of them to the next, out of 1,000.
      draws: noises z per column, averaged over.
      chunk: bound on memory: evaluations made at once for each image.
    """

    levels: tuple[int, ...] = (10, 50, 100)
    window: int = 5
    step: int = 10
    draws: int = 1
    chunk: int = 10

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_levels(self.levels)
        at_least("window", self.window, 2)
        for name in ("step", "draws", "chunk"):
            at_least(name, int(vars(self)[name]), 1)
        check_levels((max(self.levels) + (self.window - 1) * self.step,))

    def at(self, sde: SDE) -> Float[np.ndarray, "k window"]:
        """The times of each column's levels, float32.

        Raises:
          UserError: the step is shorter than the process's own.
        """
        across = self.step * np.arange(self.window)
        levels = np.add.outer(np.asarray(self.levels), across)
        return strided(sde, levels, self.step)

    def columns(self, model: Denoiser) -> Columns:
        """One column per level."""
        times = self.at(model.sde)
        cost = float(times.size * self.draws)
        return columns_at("dispersion", model.sde, times[:, 0], cost, "Dispersion")

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the variances of one image."""
        times, told = self.at(model.sde), model.embed(query.condition)
        x = model.codec.encode(query.image)

        def seen(row: tuple[Array, Array, Array]) -> Array:
            first, t, draw = row
            noise = noise_at(query.key, draw, first, x.shape)
            return model.eps(model.sde.perturb(x, t, noise), t, told)

        shape = (len(times), self.draws, self.window)
        level, draw, place = (a.ravel() for a in np.indices(shape))
        rows = (times[level, 0], times[level, place], draw)
        noises = chunked(seen, tuple(map(jnp.asarray, rows)), self.chunk)
        spread = jnp.var(noises.reshape(*shape, -1), axis=2)
        return Reading(-spread.mean(axis=(1, 2)), spent(float(np.prod(shape))))
