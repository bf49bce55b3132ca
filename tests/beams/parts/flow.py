"""Rectified flow (Liu et al. 2022, 2209.03003): a straight line from data to noise."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from score_mia.clock import Clock, UniformClock
from score_mia.parameterisation import Parameterisation
from score_mia.sde import SDE, Convention


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Flow(SDE):
    """alpha = 1 - t, std = t; its networks predict eps - x0 and are told 1000 t.

    The ends are left out: without noise the score is none, without signal the log-SNR.
    """

    t0 = 1e-3
    t1 = 0.999

    clock: ClassVar[Clock] = UniformClock()
    convention: ClassVar[Convention] = Convention(
        "tests.beams.parts.flow:Straight", {"scale": 1000.0}
    )

    def log_alpha(self, t):
        return jnp.log1p(-jnp.asarray(t, jnp.float32))

    def std(self, t):
        return jnp.asarray(t, jnp.float32)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Straight(Parameterisation):
    """F predicts eps - x0: x + alpha F = (alpha + std) eps."""

    def coefficients(self, alpha, std):
        return 1 / (alpha + std), alpha / (alpha + std), 1.0
