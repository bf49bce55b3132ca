"""`Target`: a trained diffusion model as an attacker meets it.

Parameters, process, parameterisation, network function and codec in one immutable
value. Its mathematics is written for one image and one time; callers `vmap`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Params, ScalarLike
from score_mia.parameterisation import Parameterisation
from score_mia.sde import SDE

Apply = Callable[..., Float[Array, "b ..."]]
"""`apply(params, x [b, ...], label [b], condition [b, ...] or None) -> [b, ...]`."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Codec:
    """The affine map from images in [0, 1] to the target's space [low, high]."""

    low: float = -1.0
    high: float = 1.0

    def encode(self, image: Float[Array, "..."]) -> Float[Array, "..."]:
        """From [0, 1] to the target's space."""
        return self.low + (self.high - self.low) * image

    def decode(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """From the target's space to [0, 1], unclipped."""
        return (x - self.low) / (self.high - self.low)

    @property
    def log_scale(self) -> float:
        """log |d x / d image| per dimension: densities on images gain it."""
        return float(np.log(self.high - self.low))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """A diffusion model under attack.

    Attributes:
      params: the network's parameters (the only arrays of the value).
      sde: the noising process.
      parameterisation: what the network's output means.
      apply: the network's pure function, on a batch (see `Apply`).
      codec: from images in [0, 1] to the network's space.
    """

    params: Params
    sde: SDE = dataclasses.field(metadata={"static": True})
    parameterisation: Parameterisation = dataclasses.field(metadata={"static": True})
    apply: Apply = dataclasses.field(metadata={"static": True})
    codec: Codec = dataclasses.field(default=Codec(), metadata={"static": True})

    def eps(
        self, x: Float[Array, "..."], t: ScalarLike, condition: Any = None
    ) -> Float[Array, "..."]:
        """Predicted noise in one x of the target's space at one time."""
        c = self.parameterisation.scalars(t, self.sde.alpha(t), self.sde.std(t))
        batch = None if condition is None else jax.tree.map(_one_row, condition)
        # The network sees a batch of one: several Flax layers (GroupNorm among them)
        # compute something else, silently, on an input without a batch axis.
        output = self.apply(self.params, (c.inp * x)[None], c.label[None], batch)[0]
        return c.skip * x + c.out * output

    def score(
        self, x: Float[Array, "..."], t: ScalarLike, condition: Any = None
    ) -> Float[Array, "..."]:
        """Estimated gradient of log p_t at x: -eps / std."""
        return -self.eps(x, t, condition) / self.sde.std(t)

    def denoised(
        self, x: Float[Array, "..."], t: ScalarLike, condition: Any = None
    ) -> Float[Array, "..."]:
        """Estimated E[x_0 | x_t = x]: (x - std eps) / alpha."""
        eps = self.eps(x, t, condition)
        return (x - self.sde.std(t) * eps) / self.sde.alpha(t)

    def velocity(
        self, x: Float[Array, "..."], t: ScalarLike, condition: Any = None
    ) -> Float[Array, "..."]:
        """dx/dt of the probability-flow ODE (Song et al. 2021, Eq. 13).

        f(t) x - g(t)^2 score / 2 = f(t) x + g(t)^2 / (2 std) eps.
        """
        f, g2 = self.sde.drift(t), self.sde.diffusion_squared(t)
        eps = self.eps(x, t, condition)
        return f * x + (0.5 * g2 / self.sde.std(t)) * eps


def _one_row(leaf: Any) -> Array:
    return jnp.asarray(leaf)[None]
