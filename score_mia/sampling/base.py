"""What a sampler is, and the loop that all step-by-step samplers share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from score_mia.arrays import Image, Key, Scalar
from score_mia.check import at_least, one_of, positive
from score_mia.clock import KarrasClock, LogSnrClock, spread
from score_mia.sde import SDE
from score_mia.target import Denoiser

Observer = Callable[[Image, Image, Scalar], Any]
"""`observe(x_t, denoised, t)`: a pure function; its outputs are stacked over times."""

Predict = Callable[[Image, Scalar], Image]
"""`predict(x, t)`: the noise that the network sees in x at t."""

SPACINGS = ("time", "log_snr", "karras")


class Row(NamedTuple):
    """All that one move needs to know; the loop scans over these.

    Attributes:
      t, alpha, std: where the move begins.
      to, to_alpha, to_std: where it ends; (t, 1, 0) when it ends clean.
      bridge: (a, b, std) of q(x_to | x_t, x_0) = N(a x_0 + b x_t, std^2).
      index: number of the move, uint32; the noise of a move is keyed by it.
    """

    t: Any
    alpha: Any
    std: Any
    to: Any
    to_alpha: Any
    to_std: Any
    bridge: Any
    index: Any

    @property
    def ratio(self) -> Scalar:
        """alpha(t) / alpha(to): x_t = ratio x_to + N(0, gained), the forward step."""
        return self.alpha / self.to_alpha

    @property
    def gained(self) -> Scalar:
        """Variance that the forward step from `to` to t adds (DDPM's beta)."""
        return jnp.maximum(self.std**2 - (self.ratio * self.to_std) ** 2, 0.0)

    @property
    def dt(self) -> Scalar:
        """Length of the move on the process's clock; 0 when it ends clean."""
        return self.t - self.to

    @property
    def clean(self) -> Bool[Array, ""]:
        """Whether the move ends at the clean image."""
        return self.to_std == 0.0


class Move(NamedTuple):
    """A move's end, and what was known where it began: all an observer may see."""

    x: Image
    start: Image
    eps: Image


@dataclasses.dataclass(frozen=True)
class Sampler(abc.ABC):
    """How to draw an image: the times to stand on, and the way between them.

    Attributes:
      steps: times the sampler stands on; None for all of a discrete model's and 1,000
        of a continuous one's.
      spacing: "time" (as the process's own clock spreads them), "log_snr" (even in it)
        or "karras" (even in (std/alpha)^(1/rho), Karras et al., Eq. 5). A discrete
        model's times are rounded to its own, and those that coincide are merged.
      rho: exponent of the karras spacing.
      denoise: move from the last time on to the clean image; else stop there.
    """

    steps: int | None = None
    spacing: str = "time"
    rho: float = 7.0
    denoise: bool = True

    def __post_init__(self) -> None:
        one_of("spacing", self.spacing, SPACINGS)
        positive("rho", self.rho)
        if self.steps is not None:
            at_least("steps", self.steps, 2)

    @final
    def times(self, sde: SDE) -> Float[np.ndarray, " n"]:
        """The times it stands on, from t1 down to t0, float32."""
        if self.spacing == "time":
            return sde.times(self.steps)[::-1]
        even = self.spacing == "log_snr"
        clock = LogSnrClock() if even else KarrasClock(float(self.rho))
        return spread(sde, clock, self.steps or sde.discrete_steps or 1000)[::-1]

    @abc.abstractmethod
    def evaluations(self, sde: SDE) -> int | None:
        """Network evaluations per image; None if they depend on the image."""

    @abc.abstractmethod
    def run(
        self,
        model: Denoiser,
        x: Image,
        times: Float[ArrayLike, " n"],
        key: Key,
        condition: Any = None,
        observe: Observer | None = None,
    ) -> tuple[Image, Any]:
        """From x, which stands at times[0], over all times to the end.

        Where x comes from and which times these are is the caller's choice: noise and
        `times(sde)` draw an image, a noised image and the last of them vary it, a
        deterministic sampler inverts on ascending times. What `observe` saw at each
        time is returned beside the last x, stacked; None without it.
        """


@dataclasses.dataclass(frozen=True)
class StepSampler(Sampler):
    """A sampler that goes from time to time; subclasses say what a move is."""

    def evaluations(self, sde: SDE) -> int | None:
        """Network evaluations per image; None if they depend on the image."""
        return len(self.times(sde)) - (not self.denoise)

    @abc.abstractmethod
    def move(self, network: Predict, sde: SDE, row: Row, x: Image, key: Key) -> Move:
        """One move; `network(x, t)` predicts noise, `key` is the whole run's."""

    def run(
        self,
        model: Denoiser,
        x: Image,
        times: Float[ArrayLike, " n"],
        key: Key,
        condition: Any = None,
        observe: Observer | None = None,
    ) -> tuple[Image, Any]:
        sde, rows = model.sde, moves(model.sde, times)
        if not self.denoise:
            rows = jax.tree.map(lambda a: a[:-1], rows)

        def predict(x: Image, t: Scalar) -> Image:
            return model.eps(x, t, condition)

        def turn(x: Image, row: Row) -> tuple[Image, Any]:
            move = self.move(predict, sde, row, x, key)
            if observe is None:
                return move.x, None
            clean = (move.start - row.std * move.eps) / row.alpha
            return move.x, observe(move.start, clean, row.t)

        return jax.lax.scan(turn, x, rows)


@dataclasses.dataclass(frozen=True)
class OneStep(StepSampler):
    """A sampler whose every move is one formula of the noise predicted where it is."""

    @abc.abstractmethod
    def update(self, sde: SDE, row: Row, x: Image, eps: Image, key: Key) -> Image:
        """Where the move ends; `key` is its own."""

    def move(self, network: Predict, sde: SDE, row: Row, x: Image, key: Key) -> Move:
        """One evaluation, one update."""
        eps = network(x, row.t)
        own = jax.random.fold_in(key, row.index)
        return Move(self.update(sde, row, x, eps, own), x, eps)


def moves(sde: SDE, times: Float[ArrayLike, " n"]) -> Row:
    """The moves from time to time and, last, from the last one to clean, stacked [n].

    The bridge is that of descending times.
    """
    t = jnp.asarray(times, jnp.float32)
    alpha, std = jax.vmap(sde.alpha)(t), jax.vmap(sde.std)(t)
    bridge = jax.vmap(sde.bridge)(t[1:], t[:-1])
    return Row(
        t=t,
        alpha=alpha,
        std=std,
        to=jnp.append(t[1:], t[-1:]),
        to_alpha=jnp.append(alpha[1:], 1.0),
        to_std=jnp.append(std[1:], 0.0),
        bridge=tuple(
            jnp.append(c, end) for c, end in zip(bridge, (1.0, 0.0, 0.0), strict=True)
        ),
        index=jnp.arange(t.size, dtype=jnp.uint32),
    )
