"""What a sampler is, and the loop that all step-by-step samplers share."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from score_mia.arrays import Image, Key, Scalar
from score_mia.check import at_least, one_of, positive
from score_mia.clock import KarrasClock, LogSnrClock, spread
from score_mia.sde import SDE
from score_mia.target import Denoiser

Observer = Callable[[Image, Image, Scalar], Any]
"""`observe(x_t, denoised, t)`: a pure function; its outputs are stacked over times."""

SPACINGS = ("time", "log_snr", "karras")


class Row(NamedTuple):
    """All that one network evaluation needs to know; the loop scans over these.

    Attributes:
      t, alpha, std: where the network is evaluated.
      to_alpha, to_std: where the move from t ends; (1, 0) when it ends clean.
      dt: length of the move on the process's clock (0 when it ends clean).
      bridge: (a, b, std) of q(x_to | x_t, x_0) = N(a x_0 + b x_t, std^2).
      main: False for a sampler's auxiliary evaluations (correctors).
    """

    t: Any
    alpha: Any
    std: Any
    to_alpha: Any
    to_std: Any
    dt: Any
    bridge: Any
    main: Any

    @property
    def ratio(self) -> Scalar:
        """alpha(t) / alpha(to): x_t = ratio x_to + N(0, gained), the forward step."""
        return self.alpha / self.to_alpha

    @property
    def gained(self) -> Scalar:
        """Variance that the forward step from `to` to t adds (DDPM's beta)."""
        return jnp.maximum(self.std**2 - (self.ratio * self.to_std) ** 2, 0.0)

    @property
    def clean(self) -> Bool[Array, ""]:
        """Whether the move ends at the clean image."""
        return self.to_std == 0.0


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
      denoise: move from t0 on to the clean image; else stop at x_t0.
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
        key: Key,
        condition: Any = None,
        observe: Observer | None = None,
    ) -> tuple[Image, Any]:
        """From x at t1 to the end; returns (x, stacked observations or None)."""


@dataclasses.dataclass(frozen=True)
class StepSampler(Sampler):
    """A sampler that is a loop; subclasses say what one network evaluation does."""

    def evaluations(self, sde: SDE) -> int | None:
        """Network evaluations per image; None if they depend on the image."""
        return len(self.times(sde)) - (not self.denoise)

    def rows(self, sde: SDE) -> Row:
        """The moves, each field stacked [n] (bridge: a triple of [n])."""
        rows = moves(sde, self.times(sde))
        return rows if self.denoise else jax.tree.map(lambda a: a[:-1], rows)

    def memory(self, x: Image) -> Any:
        """What the sampler remembers between evaluations, at the start."""
        del x
        return ()

    @abc.abstractmethod
    def update(
        self, sde: SDE, row: Row, x: Image, eps: Image, key: Key, memory: Any
    ) -> tuple[Image, Any]:
        """The next state and memory, given the predicted noise in x at row.t."""

    def run(
        self,
        model: Denoiser,
        x: Image,
        key: Key,
        condition: Any = None,
        observe: Observer | None = None,
    ) -> tuple[Image, Any]:
        rows = self.rows(model.sde)

        def turn(state: tuple[Image, Any], numbered: tuple[Row, Array]) -> Any:
            (x, memory), (row, index) = state, numbered
            eps = model.eps(x, row.t, condition)
            seen = None
            if observe is not None:
                seen = observe(x, (x - row.std * eps) / row.alpha, row.t)
            noise_key = jax.random.fold_in(key, index)
            return self.update(model.sde, row, x, eps, noise_key, memory), seen

        count = rows.main.size
        numbered = (rows, jnp.arange(count, dtype=jnp.uint32))
        (x, _), seen = jax.lax.scan(turn, (x, self.memory(x)), numbered)
        kept = np.flatnonzero(self.is_main(count))
        return x, jax.tree.map(lambda a: a[kept], seen)

    def is_main(self, count: int) -> np.ndarray:
        """[count] bool: which evaluations the observer's record keeps."""
        return np.ones(count, bool)


def moves(sde: SDE, times: np.ndarray) -> Row:
    """The moves between descending times and, last, from the last time to clean."""
    t = jnp.asarray(times, jnp.float32)
    alpha, std = jax.vmap(sde.alpha)(t), jax.vmap(sde.std)(t)
    bridge = jax.vmap(sde.bridge)(t[1:], t[:-1])
    return Row(
        t=t,
        alpha=alpha,
        std=std,
        to_alpha=jnp.append(alpha[1:], 1.0),
        to_std=jnp.append(std[1:], 0.0),
        dt=jnp.append(t[:-1] - t[1:], 0.0),
        bridge=tuple(
            jnp.append(c, end) for c, end in zip(bridge, (1.0, 0.0, 0.0), strict=True)
        ),
        main=jnp.ones(t.size, bool),
    )
