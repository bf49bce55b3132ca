"""SecMI's statistic: a member comes back where it was (Duan et al. 2023, 2302.01316).

The image is moved up to level t by deterministic DDIM with the network, in strides of
k; then once more up to t + k and down to t. How far it then is from where it was is the
*t-error* (their Eqs. 8 and 9), and members have the smaller one.

The paper's cost at t = 100, k = 10 is ten moves up and two more. Its published code
lays out its grid so that it ends at t = 90 and turns round there, with 11 evaluations;
this follows the text.

Their other head, SecMI_NNs, is a ResNet-18 that is shown |x_t - x~_t| itself. With
`pixels` that image is what is read, and the rule `convnet` is the head.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.pixels import Pixels, check_pixels, check_shape, pixelwise
from score_mia.attacks.protocol import (
    LATER,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_levels, columns_at, spent, strided
from score_mia.check import at_least, require
from score_mia.readings import pixel_names
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
      pixels: (h, w, c) for the difference itself, -|D(D(x_t)) - x_t| pixel by pixel at
        one level, a column each ("secmi@100/03,17,2"): the shape of the model's x, of
        its latents if it has such; or a height and width smaller by whole factors, to
        take means over so many pixels. None for the t-error.
    """

    levels: tuple[int, ...] = (100,)
    step: int = 10
    pixels: Pixels | None = dataclasses.field(default=None, metadata=LATER)

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        at_least("step", self.step, 1)
        check_levels(self.levels)
        check_levels((max(self.levels) + self.step,))
        ok = all(level > 0 and level % self.step == 0 for level in self.levels)
        problem = f"are not all multiples of step={self.step} above 0"
        require(ok, f"levels={self.levels}", problem, "give such, or another step")
        if self.pixels is not None:
            check_pixels(self.pixels)
            one, told = len(self.levels) == 1, f"levels={self.levels}"
            require(one, told, "are several, with pixels of each", "name one level")

    def check_shape(self, shape: tuple[int, int, int]) -> None:
        """Refuse a model whose x [h, w, c] has other pixels."""
        if self.pixels is not None:
            check_shape(self.pixels, shape)

    def way(self, sde: SDE) -> Float[np.ndarray, " n"]:
        """The times from the image up to one stride above the last level, float32.

        Raises:
          UserError: the strides are shorter than the process's own steps.
        """
        top = max(self.levels) + self.step
        return strided(sde, np.arange(0, top + 1, self.step), self.step)

    def columns(self, model: Denoiser) -> Columns:
        """One column per level, or per pixel at one.

        Those of pixels tell no time: they are no curve over it.
        """
        times = self.way(model.sde)[self._places]
        found = columns_at("secmi", model.sde, times, self._evaluations, "SecMI")
        if self.pixels is None:
            return found
        names = pixel_names(found.names[0], self.pixels)
        return found._replace(names=names, times=None, title="SecMI, pixel by pixel")

    @property
    def _places(self) -> np.ndarray:
        """Of the levels on the way up."""
        return np.asarray(self.levels) // self.step

    @property
    def _evaluations(self) -> float:
        """Up to the stride above the last level, then down once from above each."""
        return float(max(self.levels) // self.step + 1 + len(self.levels))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the t-errors of one image, or minus the difference at each pixel."""
        times, places = jnp.asarray(self.way(model.sde)), self._places
        told, sampler = model.embed(query.condition), Ddim(denoise=False)
        clean = model.codec.encode(query.image)
        top, before = sampler.run(
            model, clean, times, query.key, told, lambda x, x0, t: x
        )
        states = jnp.concatenate([before, top[None]])

        def value(place: Array) -> Float[Array, "..."]:
            ends = times[place + 1], times[place]
            above = states[place + 1]
            back, _ = sampler.run(model, above, jnp.stack(ends), query.key, told)
            if self.pixels is not None:
                return pixelwise(back - states[place], self.pixels)
            return -jnp.sum((back - states[place]) ** 2)

        values = jax.lax.map(value, jnp.asarray(places))
        return Reading(jnp.ravel(values), spent(self._evaluations))
