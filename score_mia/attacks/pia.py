"""PIA and PIAN: the network's own noise is the probe (Kong et al. 2024, 2305.18355).

The noise that the network sees in the clean image is added to it, and the network is
asked again. It says the same once more of an image that it was trained on. Nothing is
drawn: an image costs one evaluation, and one more a time.

PIAN first scales that noise to the mean absolute value of a standard normal,
sqrt(2 / pi). The factor in the paper's text is the inverse, and CDI's code took it
over; the authors' code has this one, and so has this file.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.attacks.draws import chunked, power
from score_mia.attacks.protocol import (
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_times, chosen_times, columns_at, spent
from score_mia.check import at_least, one_of
from score_mia.sde import SDE
from score_mia.target import Denoiser

USUAL = (200,)
"""Their level of CIFAR-10, out of 1,000."""

_NONE = 1e-12
"""A mean |noise| below which there is nothing to scale: of an exact memory, it is 0."""


@dataclasses.dataclass(frozen=True)
class Pia:
    """Minus how far the noise is from itself, one column per time.

        pia@t = -|| eps(x_t, t) - e ||_p,  x_t = alpha x + std e,  e = eps(x, t0)

    with the process's own alpha and std, whichever it is (of VE alpha is 1 and t0 the
    least noise). Their form for continuous times is the size of the probability flow's
    velocity, ||f(t) x_t - g(t)^2 score(x_t, t) / 2||_p, at the same x_t.

    Attributes:
      times: a number of times, spread by the process's own clock, or the times
        themselves; None for level 200 of 1,000.
      norm: p.
      normalised: PIAN: e is first scaled to the mean absolute value of N(0, 1).
      form: "noise", or "velocity" for the probability flow's.
      chunk: bound on memory: times computed at once for each image.
    """

    times: int | tuple[float, ...] | None = None
    norm: float = 4.0
    normalised: bool = False
    form: str = "noise"
    chunk: int = 10

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_times(self.times)
        at_least("norm", self.norm, 1.0)
        at_least("chunk", self.chunk, 1)
        one_of("form", self.form, ("noise", "velocity"))

    def at(self, sde: SDE) -> Float[np.ndarray, " k"]:
        """The times of the columns, float32.

        Raises:
          UserError: see `attacks.times.chosen_times`.
        """
        return chosen_times(sde, self.times, USUAL)

    def columns(self, model: Denoiser) -> Columns:
        """One column per time."""
        times, title = self.at(model.sde), "PIAN" if self.normalised else "PIA"
        cost = 1.0 + len(times)
        return columns_at(title.lower(), model.sde, times, cost, title)

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the distances of one image."""
        sde, times = model.sde, self.at(model.sde)
        x, told = model.codec.encode(query.image), model.embed(query.condition)
        own = model.eps(x, sde.t0, told)
        if self.normalised:
            size = jnp.maximum(jnp.mean(jnp.abs(own)), _NONE)
            own = own * (np.sqrt(2 / np.pi) / size)

        def distance(t: Array) -> Array:
            x_t = sde.perturb(x, t, own)
            if self.form == "velocity":
                away = model.velocity(x_t, t, told)
            else:
                away = model.eps(x_t, t, told) - own
            return power(away, self.norm) ** (1 / self.norm)

        distances = chunked(distance, jnp.asarray(times), self.chunk)
        return Reading(-distances, spent(1.0 + len(times)))
