"""What a process is: two scalar functions, and all that follows from them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Scalar, ScalarLike
from score_mia.check import at_least, require
from score_mia.clock import Clock, LogSnrClock, spread


class Convention(NamedTuple):
    """How the published networks of a process see it: what a config need not say.

    Attributes:
      parameterisation: what they predict, e.g. "noise" or "score".
      fields: what they are told of the time, as in a config's `parameterisation`.
      counts_down: whether they are told t1 - t, the least noise last.
      low, high: the range of the images that they were trained on.
    """

    parameterisation: str = "noise"
    fields: Mapping[str, Any] = MappingProxyType({})
    counts_down: bool = False
    low: float = -1.0
    high: float = 1.0

    def sections(self, sde: SDE) -> dict[str, dict[str, Any]]:
        """The config sections "parameterisation" and "codec" of this process."""
        meaning = {"name": self.parameterisation, **self.fields}
        if self.counts_down:
            meaning |= {"scale": -1.0, "offset": float(sde.t1)}
        codec = {"low": self.low, "high": self.high}
        return {"parameterisation": meaning, "codec": codec}


@dataclasses.dataclass(frozen=True)
class SDE(abc.ABC):
    """A noising process on `t0 <= t <= t1`; subclasses say `log_alpha` and `std`.

    Attributes:
      t0: first time, the least noise a network is asked about.
      t1: last time, where x_t is (nearly) the prior.
      discrete_steps: number of steps of a discrete model, whose times are the
        integers 0 ... discrete_steps - 1; None for a continuous one.
      clock: how times are spread where nothing else is asked for: `times`, the grids
        of samplers, training. A process that says nothing has them even in log-SNR.
      convention: what a network of this process predicts, is told and is shown where a
        config leaves it open; noise told t, of images in [-1, 1], if not said here.
    """

    clock: ClassVar[Clock] = LogSnrClock()
    convention: ClassVar[Convention] = Convention()

    @property
    @abc.abstractmethod
    def t0(self) -> float:
        """First time."""

    @property
    @abc.abstractmethod
    def t1(self) -> float:
        """Last time."""

    @property
    def discrete_steps(self) -> int | None:
        """Number of steps, or None."""
        return None

    @abc.abstractmethod
    def log_alpha(self, t: ScalarLike) -> Scalar:
        """Logarithm of the signal scale alpha(t)."""

    @abc.abstractmethod
    def std(self, t: ScalarLike) -> Scalar:
        """Noise level: standard deviation of x_t given x_0."""

    @final
    def alpha(self, t: ScalarLike) -> Scalar:
        """Signal scale: E[x_t | x_0] = alpha(t) x_0."""
        return jnp.exp(self.log_alpha(t))

    @final
    def log_snr(self, t: ScalarLike) -> Scalar:
        """Logarithm of the signal-to-noise ratio alpha(t)^2 / std(t)^2."""
        return 2.0 * (self.log_alpha(t) - jnp.log(self.std(t)))

    @final
    def perturb(
        self, x: Float[Array, "..."], t: ScalarLike, noise: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """x_t for a clean x and standard normal noise of the same shape."""
        return self.alpha(t) * x + self.std(t) * noise

    @final
    def drift(self, t: ScalarLike) -> Scalar:
        """f(t) of the forward SDE dx = f(t) x dt + g(t) dw: d log alpha / dt."""
        return _derivative(self.log_alpha, t)

    @final
    def diffusion_squared(self, t: ScalarLike) -> Scalar:
        """g(t)^2 = d std^2/dt - 2 f(t) std^2, both derivatives exact."""
        variance = _derivative(lambda u: self.std(u) ** 2, t)
        return variance - 2.0 * self.drift(t) * self.std(t) ** 2

    @final
    def bridge(self, s: ScalarLike, t: ScalarLike) -> tuple[Scalar, Scalar, Scalar]:
        """The Gaussian q(x_s | x_t, x_0) for s < t, as (a, b, std).

        x_s = a x_0 + b x_t + std z. With s, t one step apart this is the ancestral
        (posterior) step of DDPM (Ho et al., Eq. 7) and of SMLD (Song et al. 2021,
        Eq. 47).
        """
        ratio = jnp.exp(self.log_alpha(t) - self.log_alpha(s))
        var_s, var_t = self.std(s) ** 2, self.std(t) ** 2
        gained = jnp.maximum(var_t - ratio**2 * var_s, 0.0)
        a = self.alpha(s) * gained / var_t
        b = ratio * var_s / var_t
        return a, b, jnp.sqrt(var_s * gained / var_t)

    @final
    def time_at(self, log_snr: ScalarLike) -> Scalar:
        """The time at which the log signal-to-noise ratio has this value.

        Bisection between t0 and t1 (log-SNR falls monotonically in t); values
        outside their range give the nearer end.
        """
        target = jnp.asarray(log_snr, jnp.float32)

        def halve(_: ScalarLike, ends: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
            low, high = ends
            mid = 0.5 * (low + high)
            cleaner = self.log_snr(mid) > target
            return jnp.where(cleaner, mid, low), jnp.where(cleaner, high, mid)

        ends = (jnp.float32(self.t0), jnp.float32(self.t1))
        low, high = jax.lax.fori_loop(0, 60, halve, ends)
        at_start = target >= self.log_snr(self.t0)
        at_end = target <= self.log_snr(self.t1)
        middle = 0.5 * (low + high)
        return jnp.where(at_start, self.t0, jnp.where(at_end, self.t1, middle))

    @final
    def prior_log_prob(self, x: Float[Array, "..."]) -> Scalar:
        """Log density of N(0, std(t1)^2 I) at x, in nats."""
        std = self.std(self.t1)
        return jnp.sum(-0.5 * (x / std) ** 2 - jnp.log(std) - 0.5 * np.log(2 * np.pi))

    @final
    def times(self, count: int | None = None) -> Float[np.ndarray, " n"]:
        """Ascending times spread by the process's clock, float32 [count].

        Args:
          count: how many; None for all steps of a discrete model, and 1,000 times of
            a continuous one. Where a discrete model's clock is not even in t, times
            that round to one step are merged, and fewer come back.

        Raises:
          UserError: a discrete model has fewer steps.
        """
        steps = self.discrete_steps
        if count is None:
            count = steps or 1000
        at_least("times", count, 1)
        problem = f"are more than the model's {steps} discrete steps"
        remedy = f"give {steps} or fewer"
        require(steps is None or count <= steps, f"times={count}", problem, remedy)
        if steps is not None and count == steps:
            return np.arange(steps, dtype=np.float32)
        return spread(self, self.clock, count)


def _derivative(f: Callable[[Scalar], Scalar], t: ScalarLike) -> Scalar:
    t = jnp.asarray(t, jnp.float32)
    return jax.jvp(f, (t,), (jnp.ones_like(t),))[1]


def preserving(log_alpha: Scalar) -> Scalar:
    """The noise level sqrt(1 - alpha^2), which keeps the variance of unit data."""
    return jnp.sqrt(-jnp.expm1(2.0 * log_alpha))


def check_bounds(low_name: str, low: float, high_name: str, high: float) -> None:
    """Require an ascending positive pair."""
    ok = 0 < low < high
    problem = "are no ascending positive pair"
    remedy = f"give 0 < {low_name} < {high_name}"
    require(ok, f"{low_name}={low!r}, {high_name}={high!r}", problem, remedy)
