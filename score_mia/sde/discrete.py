"""Processes of so many steps, which are continued between them."""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Float

from score_mia.arrays import Scalar, ScalarLike
from score_mia.check import at_least, one_of, require
from score_mia.clock import Clock, UniformClock
from score_mia.sde.base import SDE, Convention, check_bounds, preserving


class Stepped(SDE):
    """A process of so many steps, t = 0 ... steps - 1, all of them alike."""

    clock: ClassVar[Clock] = UniformClock()

    @property
    @abc.abstractmethod
    def steps(self) -> int:
        """How many: a field of each."""

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


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class SMLD(Stepped):
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

    convention: ClassVar[Convention] = Convention("score", counts_down=True, low=0.0)

    def __post_init__(self) -> None:
        check_bounds("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)
        at_least("steps", self.steps, 2)

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
class DDPM(Stepped):
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

    def __post_init__(self) -> None:
        check_bounds("beta_min", self.beta_min, "beta_max", self.beta_max)
        at_least("steps", self.steps, 2)
        ok = self.beta_max < 0.1 * self.steps
        problem = f"is too much noise a step for steps={self.steps}"
        remedy = "give more steps or a smaller beta_max (below steps / 10)"
        require(ok, f"beta_max={self.beta_max!r}", problem, remedy)

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """Half the logarithm of the product of 1 - beta."""
        m = (jnp.asarray(t, jnp.float32) + 1.0) / self.steps
        total = jnp.zeros_like(m)
        for c in reversed(_log_alpha_bar(self.beta_min, self.beta_max, self.steps)):
            total = total * m + c
        return 0.5 * m * total

    def std(self, t: ScalarLike) -> Scalar:
        """sqrt(1 - alpha^2)."""
        return preserving(self.log_alpha(t))


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Betas(Stepped):
    """The discrete VP model with any betas: x_t after t + 1 noising steps.

    alpha(t)^2 = prod_{j <= t} (1 - beta_j) for t = 0 ... steps - 1. Between them log
    alpha is continued by a monotone cubic (Fritsch & Butland 1984), which makes the
    model an SDE. Linear betas are `DDPM`'s.

    Attributes:
      schedule: "scaled_linear" (linear in sqrt(beta), as of Stable Diffusion), "cosine"
        (Nichol & Dhariwal 2021, Eq. 17, each beta at most .999), "linear", or "given".
      start, end: the first and the last beta of a linear schedule.
      steps: how many noising steps there are.
      betas: all of them, where they are "given".
    """

    schedule: str = "scaled_linear"
    start: float = 0.00085
    end: float = 0.012
    steps: int = 1000
    betas: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        known = ("scaled_linear", "cosine", "linear", "given")
        one_of("schedule", self.schedule, known)
        check_bounds("start", self.start, "end", self.end)
        at_least("steps", self.steps, 4)
        given = self.schedule == "given"
        problem = f"are {len(self.betas)} where steps={self.steps}, schedule"
        ok = len(self.betas) == (self.steps if given else 0)
        remedy = "give one for each step with schedule='given', else none"
        require(ok, "betas", f"{problem}={self.schedule!r}", remedy)
        table = self.table
        problem = f"run from {table.min():.3g} to {table.max():.3g}"
        remedy = "stay between 0 and 1, so that every step adds noise and leaves signal"
        require(bool(table.min() > 0 and table.max() < 1), "betas", problem, remedy)

    @property
    def table(self) -> Float[np.ndarray, " steps"]:
        """The betas, float64."""
        if self.schedule == "given":
            return np.asarray(self.betas)
        if self.schedule == "linear":
            return np.linspace(self.start, self.end, self.steps)
        if self.schedule == "scaled_linear":
            return np.linspace(self.start**0.5, self.end**0.5, self.steps) ** 2
        at = (np.arange(self.steps + 1) / self.steps + 0.008) / 1.008
        signal = np.cos(at * np.pi / 2) ** 2
        return np.minimum(1 - signal[1:] / signal[:-1], 0.999)

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """Half the logarithm of the product of 1 - beta."""
        t = jnp.asarray(t, jnp.float32)
        piece = jnp.clip(jnp.floor(t), 0, self.steps - 2)
        cubic = jnp.asarray(_pieces(self))[piece.astype(jnp.int32)]
        u, total = t - piece, jnp.zeros_like(t)
        for power in range(4):
            total = total * u + cubic[..., power]
        return total

    def std(self, t: ScalarLike) -> Scalar:
        """sqrt(1 - alpha^2)."""
        return preserving(self.log_alpha(t))


@functools.lru_cache
def _pieces(sde: Betas) -> Float[np.ndarray, "pieces 4"]:
    """log alpha between one step and the next, coefficients from u^3 to 1, float32."""
    half = 0.5 * np.cumsum(np.log1p(-sde.table))
    cubic = scipy.interpolate.PchipInterpolator(np.arange(sde.steps), half)
    return cubic.c.T.astype(np.float32)
