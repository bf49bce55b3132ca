"""Noising processes, each given by two scalar functions: `alpha(t)` and `std(t)`.

    x_t = alpha(t) x_0 + std(t) eps,   eps ~ N(0, I),   t0 <= t <= t1.

Time ascends in noise for every process. Everything else (drift, diffusion, posterior
step, inverse, prior) follows from the two functions. One line more, `clock`, says how
times are spread, and another, `convention`, how published networks see the process; so
nothing here or elsewhere asks which process it has. Sources: Song
et al. 2021 (2011.13456) for VP, sub-VP and VE; Ho et al. 2020 (2006.11239) for DDPM;
Song & Ermon 2019 (1907.05600) for SMLD; Karras et al. 2022 (2206.00364) for EDM.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Scalar, ScalarLike
from score_mia.check import at_least, require
from score_mia.clock import Clock, KarrasClock, LogSnrClock, UniformClock, spread


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


def _check_bounds(low_name: str, low: float, high_name: str, high: float) -> None:
    ok = 0 < low < high
    problem = "are no ascending positive pair"
    remedy = f"give 0 < {low_name} < {high_name}"
    require(ok, f"{low_name}={low!r}, {high_name}={high!r}", problem, remedy)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class VP(SDE):
    """Variance preserving: dx = -beta(t)/2 x dt + sqrt(beta(t)) dw, beta linear.

    Song et al. 2021, Eqs. 11 and 32-33; t in [start, 1].

    Attributes:
      beta_min, beta_max: beta(t) at t = 0 and at t = 1.
      start: the smallest time; nothing is asked of the network below it.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    start: float = 1e-5

    clock: ClassVar[Clock] = UniformClock()
    convention: ClassVar[Convention] = Convention("noise", {"scale": 999.0})

    def __post_init__(self) -> None:
        _check_bounds("beta_min", self.beta_min, "beta_max", self.beta_max)

    @property
    def t0(self) -> float:
        """`start`."""
        return self.start

    @property
    def t1(self) -> float:
        """1."""
        return 1.0

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """Minus half the integral of beta."""
        t = jnp.asarray(t, jnp.float32)
        slope = self.beta_max - self.beta_min
        return -0.25 * slope * t**2 - 0.5 * self.beta_min * t

    def std(self, t: ScalarLike) -> Scalar:
        """sqrt(1 - alpha^2)."""
        return jnp.sqrt(-jnp.expm1(2.0 * self.log_alpha(t)))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SubVP(VP):
    """Sub-variance preserving: VP's mean, std 1 - alpha^2 (Song et al., Eq. 29)."""

    def std(self, t: ScalarLike) -> Scalar:
        """1 - alpha^2."""
        return -jnp.expm1(2.0 * self.log_alpha(t))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class VE(SDE):
    """Variance exploding: alpha 1, std sigma_min (sigma_max/sigma_min)^t.

    Song et al. 2021, Eqs. 9 and 30-31; t in [start, 1].

    Attributes:
      sigma_min, sigma_max: std at t = 0 and at t = 1.
      start: the smallest time; nothing is asked of the network below it.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    start: float = 1e-5

    clock: ClassVar[Clock] = UniformClock()
    convention: ClassVar[Convention] = Convention("score", {"label": "std"}, low=0.0)

    def __post_init__(self) -> None:
        _check_bounds("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)

    @property
    def t0(self) -> float:
        """`start`."""
        return self.start

    @property
    def t1(self) -> float:
        """1."""
        return 1.0

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """0."""
        return 0.0 * jnp.asarray(t, jnp.float32)

    def std(self, t: ScalarLike) -> Scalar:
        """sigma_min (sigma_max/sigma_min)^t."""
        t = jnp.asarray(t, jnp.float32)
        growth = float(np.log(self.sigma_max / self.sigma_min))
        return self.sigma_min * jnp.exp(growth * t)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SMLD(SDE):
    """The discrete VE model: `steps` geometric noise levels, t = 0 ... steps - 1.

    Published codes count the levels downwards; here time ascends in noise and only
    the network's label is reversed (`Score(scale=-1, offset=steps - 1)`). Between
    the integers the same geometric law holds, which makes the model an SDE.

    Attributes:
      sigma_min, sigma_max: std of the first and of the last level.
      steps: how many levels there are.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    steps: int = 1000

    clock: ClassVar[Clock] = UniformClock()
    convention: ClassVar[Convention] = Convention("score", counts_down=True, low=0.0)

    def __post_init__(self) -> None:
        _check_bounds("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)
        at_least("steps", self.steps, 2)

    @property
    def t0(self) -> float:
        """0."""
        return 0.0

    @property
    def t1(self) -> float:
        """The last step."""
        return float(self.steps - 1)

    @property
    def discrete_steps(self) -> int:
        """`steps`."""
        return self.steps

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """0."""
        return 0.0 * jnp.asarray(t, jnp.float32)

    def std(self, t: ScalarLike) -> Scalar:
        """Geometric from sigma_min to sigma_max."""
        u = jnp.asarray(t, jnp.float32) / (self.steps - 1)
        growth = float(np.log(self.sigma_max / self.sigma_min))
        return self.sigma_min * jnp.exp(growth * u)


@functools.lru_cache
def _log_alpha_bar(beta_min: float, beta_max: float, steps: int) -> tuple[float, ...]:
    """c of log prod_{j<n} (1 - beta_j) = m (c_0 + c_1 m + ...), where m = n/steps.

    The sums over j of beta_j^k are polynomials in n, and beta^k/k is negligible from
    k = 7 on, so the polynomial is exact far below float32 (tested: 1e-9).
    """
    betas = np.linspace(beta_min / steps, beta_max / steps, steps)
    n = np.arange(1, steps + 1)
    values = np.cumsum(np.log1p(-betas)) / (n / steps)
    fit = np.polynomial.Polynomial.fit(n / steps, values, 7)
    return tuple(float(c) for c in fit.convert().coef)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class DDPM(SDE):
    """The discrete VP model: beta_j linear, x_t after t + 1 noising steps.

    alpha(t)^2 = prod_{j <= t} (1 - beta_j) for t = 0 ... steps - 1 (Ho et al. 2020,
    Eq. 4, with beta from beta_min/steps to beta_max/steps). Between the integers the
    product is continued by the polynomial it is, which makes the model an SDE.

    Attributes:
      beta_min, beta_max: `steps` times the first and the last beta_j.
      steps: how many noising steps there are.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    steps: int = 1000

    clock: ClassVar[Clock] = UniformClock()

    def __post_init__(self) -> None:
        _check_bounds("beta_min", self.beta_min, "beta_max", self.beta_max)
        at_least("steps", self.steps, 2)
        ok = self.beta_max < 0.1 * self.steps
        problem = f"is too much noise a step for steps={self.steps}"
        remedy = "give more steps or a smaller beta_max (below steps / 10)"
        require(ok, f"beta_max={self.beta_max!r}", problem, remedy)

    @property
    def t0(self) -> float:
        """0."""
        return 0.0

    @property
    def t1(self) -> float:
        """The last step."""
        return float(self.steps - 1)

    @property
    def discrete_steps(self) -> int:
        """`steps`."""
        return self.steps

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """Half the logarithm of the product of 1 - beta."""
        m = (jnp.asarray(t, jnp.float32) + 1.0) / self.steps
        total = jnp.zeros_like(m)
        for c in reversed(_log_alpha_bar(self.beta_min, self.beta_max, self.steps)):
            total = total * m + c
        return 0.5 * m * total

    def std(self, t: ScalarLike) -> Scalar:
        """sqrt(1 - alpha^2)."""
        return jnp.sqrt(-jnp.expm1(2.0 * self.log_alpha(t)))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class EDM(SDE):
    """alpha 1, std t: time is the noise level itself (Karras et al. 2022).

    Attributes:
      sigma_min, sigma_max: the smallest and the largest noise level.
    """

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    clock: ClassVar[Clock] = KarrasClock()
    convention: ClassVar[Convention] = Convention("karras")

    def __post_init__(self) -> None:
        _check_bounds("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)

    @property
    def t0(self) -> float:
        """`sigma_min`."""
        return self.sigma_min

    @property
    def t1(self) -> float:
        """`sigma_max`."""
        return self.sigma_max

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """0."""
        return 0.0 * jnp.asarray(t, jnp.float32)

    def std(self, t: ScalarLike) -> Scalar:
        """t itself."""
        return jnp.asarray(t, jnp.float32)


SDES = {"vp": VP, "sub_vp": SubVP, "ve": VE, "ddpm": DDPM, "smld": SMLD, "edm": EDM}
