"""A trained diffusion model in the views that an attacker may be handed.

Weakest first: `Generator` gives images, `Denoiser` the network's outputs at chosen
inputs and times, `Target` the parameters too. None is a subclass of another: what a
view lacks cannot be reached through it. Mathematics is written for one image and one
time; callers `vmap`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_mia.arrays import Params, ScalarLike
from score_mia.parameterisation import Parameterisation
from score_mia.sde import SDE

Apply = Callable[..., Float[Array, "b ..."]]
"""`apply(params, x [b, ...], label [b], condition [b, ...] or None) -> [b, ...]`."""


@runtime_checkable
class Generator(Protocol):
    """What a service gives: images. Host side, NumPy in and out; access "samples"."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of its images."""
        ...

    def draw(
        self, prompts: Sequence[Any] | None, seeds: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n h w c"]:
        """One image in [0, 1] for each seed.

        Args:
          prompts: n of them, or None for a model that takes none.
          seeds: int64 [n]; the same prompt and seed give the same image.
        """
        ...


@runtime_checkable
class Varying(Generator, Protocol):
    """A generator that also varies images that it is given (img2img)."""

    def vary(
        self,
        images: Float[np.ndarray, "n h w c"],
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        *,
        strength: float,
        steps: int,
    ) -> Float[np.ndarray, "n h w c"]:
        """Noise each image up to the share `strength` of the way, and denoise it."""
        ...


@runtime_checkable
class Observed(Varying, Protocol):
    """A generator whose intermediate images can be seen: access "observed"."""

    def trace(
        self,
        images: Float[np.ndarray, "n h w c"],
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        *,
        strength: float,
        steps: int,
    ) -> Float[np.ndarray, "n steps h w c"]:
        """`vary`, with the decoded image after each of its steps."""
        ...


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Codec:
    """The affine map from images in [0, 1] to the target's space [low, high].

    Attributes:
      low, high: where 0 and 1 go: the range of the network's input.
    """

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


@final
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """A diffusion model whole, parameters and all: what access "gradients" gives.

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

    @property
    def denoiser(self) -> Denoiser:
        """Its outputs alone."""
        return Denoiser(self)


@final
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Denoiser:
    """What the network says at chosen inputs and times: access "scores".

    Made by `Target.denoiser`. The parameters inside are no part of the view: a signal
    that reads them has access "gradients" and is handed the `Target`.
    """

    _target: Target

    @property
    def sde(self) -> SDE:
        """The noising process."""
        return self._target.sde

    @property
    def parameterisation(self) -> Parameterisation:
        """What the network's output means."""
        return self._target.parameterisation

    @property
    def codec(self) -> Codec:
        """From images in [0, 1] to the network's space."""
        return self._target.codec

    def under(self, sde: SDE) -> Denoiser:
        """The same network, taken for one of another process."""
        return dataclasses.replace(self._target, sde=sde).denoiser

    def eps(
        self, x: Float[Array, "..."], t: ScalarLike, condition: Any = None
    ) -> Float[Array, "..."]:
        """Predicted noise in one x of the target's space at one time."""
        c = self.parameterisation.scalars(t, self.sde.alpha(t), self.sde.std(t))
        batch = None if condition is None else jax.tree.map(_one_row, condition)
        # The network sees a batch of one: several Flax layers (GroupNorm among them)
        # compute something else, silently, on an input without a batch axis.
        output = self._target.apply(
            self._target.params, (c.inp * x)[None], c.label[None], batch
        )[0]
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
