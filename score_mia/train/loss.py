"""The denoising objective, for one image, one key: `loss = Objective()(target, ...)`.

Every published weighting is one factor on the squared error of the predicted noise,
since score = -eps / std.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from score_mia.arrays import Image, Key, Scalar
from score_mia.check import UserError, at_least, one_of, require, within
from score_mia.clock import CLOCKS
from score_mia.networks.network import with_dropout
from score_mia.sde import SDE
from score_mia.target import Target

SIGMA_DATA = 0.5  # EDM's scale of the data (Karras et al. 2022, Table 1)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Weighted denoising loss of one image (Song et al. 2021, Eq. 7).

    Attributes:
      weighting: factor on the squared noise error at time t.
        "noise": 1. DDPM's simple loss (Ho et al. 2020, Eq. 14), SMLD's sigma^2
        (Song & Ermon 2019, Eq. 5-6), lambda = std^2 of Song et al. 2021 (2011.13456).
        "likelihood": g(t)^2 / std(t)^2, i.e. lambda = g^2 (Song et al. 2021b,
        2101.09258, Eq. 7).
        "edm": 1 + (std/alpha / 0.5)^2 (Karras et al. 2022, Table 1).
      reduce_mean: mean over dimensions; False: half the sum (as score_sde names it).
      time_law: None for the law of the process's own clock; else "uniform" on [t0, t1]
        (on the integers 0 ... steps - 1 for a discrete process), "log_snr" (uniform in
        it) or "log_normal": log(std/alpha) ~ N(-1.2, 1.2^2), as EDM draws it.
      own_law: share of the draws whose time is by the process's own clock all the same.
        A law that never comes to an end of the process (EDM's, of DDPM's last steps)
        leaves the network untaught there, and samples begin there.
      flip: mirror the image with probability one half, anew for each draw.
      cutout: side in pixels of a grey square around a random pixel, anew for each draw
        and cut off at the border (DeVries & Taylor 2017); 0 for none.
      draws: times and noises averaged per image (the noise multiplicity K of
        Dockhorn et al. 2023).
      condition_dropout: probability of being told nothing, anew for each draw, so that
        the model can be guided (Ho & Salimans 2022, 2207.12598).
    """

    weighting: str = "noise"
    reduce_mean: bool = True
    time_law: str | None = None
    own_law: float = 0.0
    flip: bool = False
    cutout: int = 0
    draws: int = 1
    condition_dropout: float = 0.0

    def __post_init__(self) -> None:
        one_of("weighting", self.weighting, ("noise", "likelihood", "edm"))
        if self.time_law is not None:
            one_of("time_law", self.time_law, CLOCKS)
        within("own_law", self.own_law, 0.0, 1.0)
        problem, remedy = "mixes a law with itself", "name another time_law"
        mixed = self.own_law == 0 or self.time_law is not None
        require(mixed, f"own_law={self.own_law}", problem, remedy)
        at_least("draws", self.draws, 1)
        at_least("cutout", self.cutout, 0)
        within("condition_dropout", self.condition_dropout, 0.0, 1.0)

    def __call__(
        self, target: Target, image: Image, key: Key, condition: Any = None
    ) -> Scalar:
        """The loss of one image in [0, 1], averaged over the draws.

        Dropout is on: the network is given a key of its own in each draw.
        """
        one = functools.partial(self.draw, target, image, condition=condition)
        if self.draws == 1:
            return one(key)
        return jnp.mean(jax.vmap(one)(jax.random.split(key, self.draws)))

    def draw(
        self, target: Target, image: Image, key: Key, condition: Any = None
    ) -> Scalar:
        """One time, one noise: weight(t) |eps(x_t, t) - noise|^2."""
        k_time, k_noise, k_flip, k_dropout = jax.random.split(key, 4)
        apply = with_dropout(target.apply, k_dropout)
        target = dataclasses.replace(target, apply=apply)
        if self.flip:
            image = jnp.where(jax.random.bernoulli(k_flip), image[:, ::-1], image)
        if self.cutout:
            image = cut_out(image, self.cutout, jax.random.fold_in(k_flip, 1))
        if self.condition_dropout:
            key = jax.random.fold_in(k_flip, 2)
            condition = self.dropped(target, condition, key)
        t = self.time(target.sde, k_time)
        clean = target.codec.encode(image)
        noise = jax.random.normal(k_noise, clean.shape, clean.dtype)
        x = target.sde.perturb(clean, t, noise)
        error = jnp.square(target.denoiser.eps(x, t, condition) - noise)
        total = jnp.mean(error) if self.reduce_mean else 0.5 * jnp.sum(error)
        return self.weight(target.sde, t) * total

    def dropped(self, target: Target, condition: Any, key: Key) -> Any:
        """The condition, or with the given probability the one that says nothing."""
        told = target.conditioner
        nothing = None if told is None else told.null()
        if nothing is None or condition is None:
            raise UserError(
                f"train.condition_dropout={self.condition_dropout}: the model has no "
                "condition that says nothing; leave it out"
            )
        drop = jax.random.bernoulli(key, self.condition_dropout)
        return jax.tree.map(lambda c, n: jnp.where(drop, n, c), condition, nothing)

    def time(self, sde: SDE, key: Key) -> Scalar:
        """A random time of the process."""
        clock = sde.clock if self.time_law is None else CLOCKS[self.time_law]
        drawn = clock.draw(sde, key)
        if not self.own_law:
            return drawn
        of_own, k_own = jax.random.split(jax.random.fold_in(key, 1))
        own = jax.random.bernoulli(of_own, self.own_law)
        return jnp.where(own, sde.clock.draw(sde, k_own), drawn)

    def weight(self, sde: SDE, t: Scalar) -> Scalar:
        """The factor on the squared noise error at time t."""
        if self.weighting == "likelihood":
            return sde.diffusion_squared(t) / sde.std(t) ** 2
        if self.weighting == "edm":
            return 1.0 + (sde.std(t) / sde.alpha(t) / SIGMA_DATA) ** 2
        return jnp.float32(1.0)


def cut_out(image: Image, side: int, key: Key) -> Image:
    """The image with a grey (0.5) square around a pixel drawn uniformly.

    A square of even side reaches one pixel further up and left than down and right.
    """

    def inside(size: int, key: Key) -> Bool[Array, " size"]:
        first = jax.random.randint(key, (), 0, size) - side // 2
        place = jnp.arange(size)
        return (place >= first) & (place < first + side)

    rows, columns = (
        inside(size, k)
        for size, k in zip(image.shape[:2], jax.random.split(key), strict=True)
    )
    hole = rows[:, None] & columns[None, :]
    return jnp.where(hole[..., None], jnp.float32(0.5), image)
