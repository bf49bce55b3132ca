"""Processes of a continuous time."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.arrays import Scalar, ScalarLike
from score_mia.check import positive, require
from score_mia.clock import Clock, KarrasClock, UniformClock
from score_mia.sde.base import SDE, Convention, check_bounds, preserving


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
        check_bounds("beta_min", self.beta_min, "beta_max", self.beta_max)

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
        return preserving(self.log_alpha(t))


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
        check_bounds("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)

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
        check_bounds("sigma_min", self.sigma_min, "sigma_max", self.sigma_max)

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


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class RectifiedFlow(SDE):
    """The straight line from image to noise: alpha 1 - t, std t.

    Liu et al. 2023 (2209.03003); Lipman et al. 2023 (2210.02747). At t = 1 there would
    be no signal and an infinite log-SNR at t = 0, so that either end is left out: the
    prior N(0, end^2 I) is wrong by (1 - end) x_0 in its mean.

    Attributes:
      start, end: the first and the last time, in (0, 1).
      shift: s, by which noise comes earlier: std = s t / (1 + (s - 1) t) (Esser et al.
        2024, 2403.03206, Eq. 23), alpha = 1 - std. The line is the same, the clock is
        another; let networks be told std, not t (label="std").
    """

    start: float = 1e-3
    end: float = 0.999
    shift: float = 1.0

    clock: ClassVar[Clock] = UniformClock()
    convention: ClassVar[Convention] = Convention("flow", {"scale": 1000.0})

    def __post_init__(self) -> None:
        check_bounds("start", self.start, "end", self.end)
        remedy = "stay below 1, where nothing of the image is left"
        require(self.end < 1, f"end={self.end!r}", "is not below 1", remedy)
        positive("shift", self.shift)

    @property
    def t0(self) -> float:
        """`start`."""
        return self.start

    @property
    def t1(self) -> float:
        """`end`."""
        return self.end

    def log_alpha(self, t: ScalarLike) -> Scalar:
        """log (1 - std)."""
        return jnp.log1p(-self.std(t))

    def std(self, t: ScalarLike) -> Scalar:
        """t itself, or shifted."""
        t = jnp.asarray(t, jnp.float32)
        return self.shift * t / (1.0 + (self.shift - 1.0) * t)
