"""The loss attack: members are denoised better (Hu & Pang 2023, 2301.09956, Eqs. 5-7).

Their three losses are one in noise form: with the published weightings, which make
lambda(t) = std(t)^2, each is the mean squared error of the predicted noise. Every time
is a column here, and the rule that picks one is fitted on reference data.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Key, Scalar, ScalarLike
from score_mia.attacks.frequency import Filter
from score_mia.attacks.protocol import (
    LATER,
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.pullback import Pullback
from score_mia.check import at_least, require, within
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
        if isinstance(self.times, tuple):
            require(len(self.times) > 0, "times=()", "is empty", "name a time")

    def at(self, sde: SDE) -> np.ndarray:
        """The times [K] of the columns, float32, ascending as given.

        Raises:
          UserError: a time lies outside the process, is no step of a discrete model,
            or two share a column name.
        """
        if not isinstance(self.times, tuple):
            return sde.times(self.times)
        times = np.asarray(self.times, np.float32)
        # t0 and t1 may be rounded by float32, and so are the times.
        low, high = float(np.float32(sde.t0)), float(np.float32(sde.t1))
        for given, t in zip(self.times, times, strict=True):
            within("times", float(t) if low <= t <= high else float(given), low, high)
            ok = sde.discrete_steps is None or float(t).is_integer()
            remedy = f"give whole numbers from 0 to {high:.0f}"
            require(ok, f"times={given}", "is no step of this discrete model", remedy)
        return times

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
        return Columns(
            self.names(model.sde),
            times,
            (NETWORK_EVALUATIONS,),
            float(len(times) * self.draws),
            title=title,
        )

    def names(self, sde: SDE) -> tuple[str, ...]:
        """ "loss@200" for a step, "loss@0.2100" for a continuous time.

        Four decimals where the process's clock is even in t, else four significant
        digits ("loss@0.003341", "loss@80").
        """
        digits = ".4g" if sde.discrete_steps is None else ".0f"
        if sde.discrete_steps is None and sde.clock.even:
            digits = ".4f"
        names = tuple(f"loss@{t:{digits}}" for t in self.at(sde))
        problem = "are so close that columns share a name of four digits"
        remedy = "give fewer times"
        require(len(set(names)) == len(names), f"times={self.times!r}", problem, remedy)
        return names

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the losses of one image."""
        times = self.at(model.sde)
        x, condition = model.codec.encode(query.image), query.condition
        taken = None
        if self.pullback is not None:
            taken = self.pullback.taken(model.codec, x, query.common)

        def error(pair: tuple[Scalar, Array]) -> Scalar:
            t, draw = pair
            noise = noise_at(query.key, draw, t, x.shape)
            noisy = model.sde.perturb(x, t, noise)
            wrong = noise - model.eps(noisy, t, condition)
            if self.filter is not None:
                wrong = self.filter(wrong)
            return jnp.mean(wrong**2, where=taken)

        pairs = (
            jnp.asarray(np.repeat(times, self.draws)),
            jnp.asarray(np.tile(np.arange(self.draws), len(times))),
        )
        errors = _map(error, pairs, self.chunk).reshape(len(times), self.draws)
        cost = jnp.full((1,), errors.size, jnp.float32)
        return Reading(-jnp.mean(errors, axis=1), cost)


def noise_at(
    key: Key, draw: ScalarLike, t: ScalarLike, shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """Standard normal noise of one draw at one time of an image's key.

    Keyed by the time's bits and not by its place: a column is the same whichever other
    columns are asked for, and signals of one key share their noises.

    Args:
      key: of the image.
      draw: its number.
      t: float32, a time.
      shape: of the noise.
    """
    bits = jax.lax.bitcast_convert_type(jnp.float32(t), jnp.uint32)
    own = jax.random.fold_in(jax.random.fold_in(key, draw), bits)
    return jax.random.normal(own, shape, jnp.float32)


def _map(function: Any, pairs: Any, chunk: int) -> Array:
    """`lax.map` in equal chunks: a remainder would compile the network twice."""
    count = len(jax.tree.leaves(pairs)[0])
    size = _chunk_size(count, chunk)
    places = jnp.minimum(jnp.arange(-(-count // size) * size), count - 1)
    padded = jax.tree.map(lambda leaf: leaf[places], pairs)
    return jax.lax.map(function, padded, batch_size=size)[:count]


def _chunk_size(count: int, most: int) -> int:
    """The size in [most/2, most] that wastes least on padding; the largest such."""
    sizes = range(max(1, min(most, count) // 2), min(most, count) + 1)
    return min(sizes, key=lambda size: (-count % size, -size))
