"""A trained diffusion model in the views that an attacker may be handed.

Weakest first: `Generator` gives images, `Denoiser` the network's outputs at chosen
inputs and times, `Target` the parameters too. None is a subclass of another: what a
view lacks cannot be reached through it. Mathematics is written for one image and one
time; callers `vmap`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_mia.arrays import Params, ScalarLike
from score_mia.codecs import Affine, Bound, Codec
from score_mia.conditions import Conditioner
from score_mia.parameterisation import Parameterisation
from score_mia.sde import SDE

Apply = Callable[..., Float[Array, "b ..."]]
"""`apply(params, x [b, ...], label [b], condition [b, ...] or None) -> [b, ...]`."""

Embed = Callable[[Params, Any], Any]
"""`embed(params, condition [b, ...]) -> [b, ...]`: what `apply` is then given."""


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
        denoised: bool = False,
    ) -> Float[np.ndarray, "n steps h w c"]:
        """`vary`, with the decoded image after each of its steps.

        Args:
          denoised: instead, the clean image that the model predicts before each.
        """
        ...


@runtime_checkable
class Steered(Generator, Protocol):
    """A generator whose initial noise is the attacker's to choose."""

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Of one image's initial noise."""
        ...

    def draw(
        self,
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        noise: Float[np.ndarray, "n ..."] | None = None,
    ) -> Float[np.ndarray, "n h w c"]:
        """One image for each seed, from standard normal noise of one's own if given."""
        ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Embedded:
    """A condition as the network's own embedding made it: what `eps` may be handed."""

    value: Any


class Guidance(NamedTuple):
    """Classifier-free guidance (Ho & Salimans 2022, 2207.12598).

    eps = eps(null) + weight (eps(condition) - eps(null)): 1 is no guidance.
    """

    null: Any
    weight: ScalarLike


@final
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Target:
    """A diffusion model whole, parameters and all: what access "gradients" gives.

    Attributes:
      params: the network's parameters.
      sde: the noising process.
      parameterisation: what the network's output means.
      apply: the network's pure function, on a batch (see `Apply`).
      codec: from images in [0, 1] to the network's space; its arrays, if it has any,
        are parameters too.
      embed: the network's function from conditions to what `apply` is given, on a
        batch, such as a text encoder; None where they are the same.
      conditioner: makes conditions of captions or labels; None for a network that is
        told nothing, or whose conditions are made elsewhere.
    """

    params: Params
    sde: SDE = dataclasses.field(metadata={"static": True})
    parameterisation: Parameterisation = dataclasses.field(metadata={"static": True})
    apply: Apply = dataclasses.field(metadata={"static": True})
    codec: Codec = dataclasses.field(default_factory=Affine)
    embed: Embed | None = dataclasses.field(default=None, metadata={"static": True})
    conditioner: Conditioner | None = dataclasses.field(
        default=None, metadata={"static": True}
    )

    @property
    def tree(self) -> Params:
        """All that was learned: what checkpoints hold, and `spec.Parts.target` takes.

        The network's parameters; {"network", "codec"} where the codec is `Bound`.
        """
        if not isinstance(self.codec, Bound):
            return self.params
        return {"network": self.params, "codec": self.codec.params}

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
    _guidance: Guidance | None = None

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
        target = dataclasses.replace(self._target, sde=sde)
        return dataclasses.replace(self, _target=target)

    def embed(self, condition: Any) -> Embedded | None:
        """What the network makes of one condition before it looks at x; None of None.

        Made once, it serves all times: `eps` takes it in the condition's place.
        """
        if condition is None or isinstance(condition, Embedded):
            return condition
        target, batch = self._target, jax.tree.map(_one_row, condition)
        if target.embed is not None:
            batch = target.embed(target.params, batch)
        return Embedded(batch)

    def guided(self, guidance: Guidance) -> Denoiser:
        """The model whose every output is guided so, wherever a condition is given."""
        return dataclasses.replace(self, _guidance=guidance)

    def eps(
        self,
        x: Float[Array, "..."],
        t: ScalarLike,
        condition: Any = None,
        guidance: Guidance | None = None,
    ) -> Float[Array, "..."]:
        """Predicted noise in one x of the target's space at one time."""
        own = self._eps(x, t, self.embed(condition))
        guidance = self._guidance if guidance is None else guidance
        if guidance is None or condition is None:
            return own
        free = self._eps(x, t, self.embed(guidance.null))
        return free + guidance.weight * (own - free)

    def _eps(
        self, x: Float[Array, "..."], t: ScalarLike, condition: Embedded | None
    ) -> Float[Array, "..."]:
        target, batch = self._target, None if condition is None else condition.value
        c = self.parameterisation.scalars(t, self.sde.alpha(t), self.sde.std(t))
        # The network sees a batch of one: several Flax layers (GroupNorm among them)
        # compute something else, silently, on an input without a batch axis.
        given = ((c.inp * x)[None], c.label[None], batch)
        return c.skip * x + c.out * target.apply(target.params, *given)[0]

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
