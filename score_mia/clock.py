"""How the times of a process are spread: one value, which every process states.

A network that is never asked where the data's finer structure lives finds nothing
there. So the times of attacks, the grids of samplers and the times of training steps
all come from here, and each clock reaches every noise level.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from typing import ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_mia.arrays import Key, Scalar, ScalarLike
from score_mia.check import positive, require


@runtime_checkable
class Process(Protocol):
    """What a clock asks of a process (`score_mia.sde.SDE`, hashable)."""

    @property
    def t0(self) -> float:
        """The first time, of least noise."""
        ...

    @property
    def t1(self) -> float:
        """The last time, of most noise."""
        ...

    @property
    def discrete_steps(self) -> int | None:
        """How many steps a discrete model has; None for a continuous one."""
        ...

    def log_snr(self, t: ScalarLike) -> Scalar:
        """Falls from t0 to t1."""
        ...

    def time_at(self, log_snr: ScalarLike) -> Scalar:
        """Its inverse; the nearer end for a value out of range."""
        ...


@dataclasses.dataclass(frozen=True)
class Clock(abc.ABC):
    """The times of a process, and the law of one drawn for a training step.

    Attributes:
      law: the training law's name in configs and records.
      even: whether the times are even in t itself, so that four decimals tell them
        apart; else they are written with four significant digits.
    """

    law: ClassVar[str]
    even: ClassVar[bool] = False

    @abc.abstractmethod
    def times(self, sde: Process, count: int) -> Float[np.ndarray, " count"]:
        """So many ascending times from t0 to t1 (t0 alone if one), float64."""

    @abc.abstractmethod
    def draw(self, sde: Process, key: Key) -> Scalar:
        """A random time of [t0, t1] for a training step; a step of a discrete model."""


@dataclasses.dataclass(frozen=True)
class UniformClock(Clock):
    """Even in t: every time, and of a discrete model every step, alike."""

    law: ClassVar[str] = "uniform"
    even: ClassVar[bool] = True

    def times(self, sde: Process, count: int) -> Float[np.ndarray, " count"]:
        """Even in t."""
        return np.linspace(sde.t0, sde.t1, count)

    def draw(self, sde: Process, key: Key) -> Scalar:
        """Uniform in [t0, t1], or any step alike."""
        if sde.discrete_steps is None:
            return jax.random.uniform(key, (), minval=sde.t0, maxval=sde.t1)
        return jax.random.randint(key, (), 0, sde.discrete_steps).astype(jnp.float32)


@dataclasses.dataclass(frozen=True)
class LogSnrClock(Clock):
    """Even in the log signal-to-noise ratio: as many times at every noise level."""

    law: ClassVar[str] = "log_snr"

    def times(self, sde: Process, count: int) -> Float[np.ndarray, " count"]:
        """Even in log-SNR."""
        noisiest, cleanest = _log_snr_ends(sde)
        return _times_at(sde, np.linspace(noisiest, cleanest, count))

    def draw(self, sde: Process, key: Key) -> Scalar:
        """Uniform in log-SNR."""
        noisiest, cleanest = _log_snr_ends(sde)
        level = jax.random.uniform(key, (), minval=noisiest, maxval=cleanest)
        return _step(sde, sde.time_at(level))


@dataclasses.dataclass(frozen=True)
class KarrasClock(Clock):
    """Even in (std/alpha)^(1/rho); log(std/alpha) is normal in training.

    Karras et al. 2022, Eq. 5 and Table 1.

    Attributes:
      rho: exponent; the larger, the more times at low noise.
      mean, std: of the natural logarithm of std/alpha, which is cut off at the ends.
    """

    rho: float = 7.0
    mean: float = -1.2
    std: float = 1.2

    law: ClassVar[str] = "log_normal"

    def __post_init__(self) -> None:
        positive("rho", self.rho)
        positive("std", self.std)

    def times(self, sde: Process, count: int) -> Float[np.ndarray, " count"]:
        """Even in (std/alpha)^(1/rho)."""
        ends = np.exp(-0.5 * _log_snr_ends(sde)) ** (1.0 / self.rho)
        roots = np.linspace(ends[0], ends[1], count)
        return _times_at(sde, -2.0 * self.rho * np.log(roots))

    def draw(self, sde: Process, key: Key) -> Scalar:
        """Of normal log(std/alpha)."""
        z = jax.random.normal(key, ())
        return _step(sde, sde.time_at(-2.0 * (self.mean + self.std * z)))


@dataclasses.dataclass(frozen=True)
class LogitNormalClock(UniformClock):
    """Even in t; in training the place between t0 and t1 is the sigmoid of a normal.

    Esser et al. 2024 (2403.03206), Section 3.1: most times in the middle of the way.

    Attributes:
      mean, std: of the normal.
    """

    mean: float = 0.0
    std: float = 1.0

    law: ClassVar[str] = "logit_normal"

    def __post_init__(self) -> None:
        positive("std", self.std)

    def draw(self, sde: Process, key: Key) -> Scalar:
        """Of normal logit."""
        share = jax.nn.sigmoid(self.mean + self.std * jax.random.normal(key, ()))
        return _step(sde, sde.t0 + (sde.t1 - sde.t0) * share)


_KNOWN = (UniformClock(), LogSnrClock(), KarrasClock(), LogitNormalClock())
CLOCKS = {clock.law: clock for clock in _KNOWN}
"""The clocks that a config can name, whichever the process's own is."""


@functools.lru_cache(maxsize=64)
def spread(sde: Process, clock: Clock, count: int) -> Float[np.ndarray, " n"]:
    """Ascending times of a process by any clock, float32, read-only.

    A discrete model's are rounded to its own steps, and those that coincide merged.
    """
    times = clock.times(sde, count)
    if sde.discrete_steps is not None:
        times = np.unique(np.round(times))
    times = times.astype(np.float32)
    times.flags.writeable = False
    return times


def _log_snr_ends(sde: Process) -> Float[np.ndarray, " 2"]:
    """Log-SNR at t1 and at t0, float64."""
    # Constants of the program, even where it is being traced.
    with jax.ensure_compile_time_eval():
        ends = np.asarray([sde.log_snr(sde.t1), sde.log_snr(sde.t0)], np.float64)
    ok = bool(np.isfinite(ends).all())
    problem = f"is {ends[1]:g} at t0={sde.t0:g} and {ends[0]:g} at t1={sde.t1:g}"
    remedy = "choose ends with some noise and some signal, or state another clock"
    require(ok, f"log-SNR of {type(sde).__name__}", problem, remedy)
    return ends


def _times_at(
    sde: Process, log_snr: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Times with these log-SNRs (given from the noisiest on), ascending, float64."""
    with jax.ensure_compile_time_eval():
        time_at = jax.jit(jax.vmap(sde.time_at))
        times = np.array(time_at(jnp.asarray(log_snr, jnp.float32)), np.float64)[::-1]
    times[-1], times[0] = sde.t1, sde.t0
    return times


def _step(sde: Process, t: Scalar) -> Scalar:
    """The nearest step, if the process has steps."""
    return t if sde.discrete_steps is None else jnp.round(t)
