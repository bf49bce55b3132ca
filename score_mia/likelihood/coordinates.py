"""The clock and the coordinates in which the flow is integrated.

z = y / a(s) with a(s)^2 = s^2 + c^2: for data of standard deviation c around nought z
stands still, so that a step has only the structure of the data to follow. The clock
u = log((s + near) / (s + far)) is even in log s between `near` and `far`, where that
structure shows, and almost at rest outside. A network that is no exact score has
structure at high noise too, which is why `far` is. docs/likelihood.md has the
measurements.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from score_mia.arrays import Scalar, ScalarLike
from score_mia.codecs import half_range
from score_mia.target import Denoiser

_NEAR, _FAR, _CENTRE = 0.01, 50.0, 0.5
"""Ends of the clock's even stretch, and the standard deviation c of data at which z
stands still, all in units of half the range of x (1 for images in [-1, 1])."""


class Node(NamedTuple):
    """One place on the clock.

    Attributes:
      t: time of the process.
      s: std(t) / alpha(t).
      rate: ds/du.
      scale: x = scale z.
      spread: a(s), y = spread z.
      pull: d log a / ds.
    """

    t: Scalar
    s: Scalar
    rate: Scalar
    scale: Scalar
    spread: Scalar
    pull: Scalar


class Coordinates:
    """z and u of this module, in the units of a target's space.

    Args:
      target: whose process and codec decide.
    """

    def __init__(self, model: Denoiser) -> None:
        self.sde = model.sde
        unit = half_range(model.codec)
        self.near, self.far = _NEAR * unit, _FAR * unit
        self.centre = _CENTRE * unit

    def ends(self) -> tuple[Scalar, Scalar]:
        """u at t0 and t1."""
        first, last = (self._u(self._s(t)) for t in (self.sde.t0, self.sde.t1))
        return first, last

    def at(self, u: Scalar) -> Node:
        """The node at u, within the times of the process."""
        # log1p and expm1: beyond `far`, u is nearer to 0 than float32 is to 1.
        gap = self.far - self.near
        s = gap / -jnp.expm1(u) - self.far
        # Rounding may leave s at or below nought at the clean end; the clock stops at
        # the process's own ends.
        t = self.sde.time_at(-2.0 * jnp.log(jnp.maximum(s, 1e-30)))
        return self._node(t, (s + self.near) * (s + self.far) / gap)

    def start(self) -> Node:
        """The node at t0."""
        return self._node(self.sde.t0, jnp.float32(1.0))

    def end(self) -> Node:
        """The node at t1."""
        return self._node(self.sde.t1, jnp.float32(1.0))

    def _node(self, t: ScalarLike, rate: Scalar) -> Node:
        s = self._s(t)
        spread = jnp.sqrt(s**2 + self.centre**2)
        scale = self.sde.alpha(t) * spread
        return Node(jnp.asarray(t), s, rate, scale, spread, s / spread**2)

    def _s(self, t: ScalarLike) -> Scalar:
        return jnp.exp(-0.5 * self.sde.log_snr(t))

    def _u(self, s: Scalar) -> Scalar:
        return jnp.log1p((self.near - self.far) / (s + self.far))
