"""Noise as a probe: what a target draws from an image's own noise (2601.21628).

Every image is drawn by a model from some noise. A model that the target was fine-tuned
from, and which anyone may have, tells that noise by inversion; the target, asked to
draw from it, comes the nearer to the image if it was trained on it. The target is a
black box but for its initial noise.

Where the published pseudo-code and the text disagree about which side of the threshold
is a member, this follows the text: the smaller distance.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image
from score_mia.attacks.likeness import minus_rmse
from score_mia.attacks.protocol import (
    QUERIES,
    Access,
    Columns,
    HostQuery,
    Product,
    Reading,
)
from score_mia.check import UserError, at_least, require
from score_mia.checkpoint import fingerprint, load_target, place
from score_mia.rows import tiled
from score_mia.sampling import Ddim, encode
from score_mia.sampling.draw import perform
from score_mia.target import Denoiser, Generator, Steered, Target

_ROWS = 16
"""Images of one call, per device."""


@dataclasses.dataclass(frozen=True)
class Inverted:
    """The noise from which a base model would draw an image; the target is not asked.

    Deterministic DDIM upwards, without guidance (Song et al. 2021, Eq. 13).

    Attributes:
      base: a workdir, or a target's own folder, of the base model.
      steps: of the way up.
      allow: parts of the base from outside score_mia, such as "my_package.mine:Net",
        that may be imported.
    """

    base: str
    steps: int = 100
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least("steps", self.steps, 2)

    @property
    def access(self) -> Access:
        """The model under attack has no part in it."""
        return "none"

    def fingerprint(self) -> str:
        """Of the base's parameters and of what they mean."""
        return fingerprint(place(self.base))

    def batch(self, model: None, queries: HostQuery) -> dict[str, np.ndarray]:
        """ "noise": float32 [n, ...] in the base's own space."""
        del model
        images = np.asarray(queries.images, np.float32)
        told = self._told(queries)
        task = _Inversion(Ddim(steps=self.steps))

        def call(rows: np.ndarray) -> Array:
            given = jax.tree.map(lambda leaf: leaf[rows], (images, told))
            return perform(task, self._base.denoiser, given, None)

        count = _ROWS * jax.local_device_count()
        return {"noise": tiled(call, np.arange(len(images)), count)}

    @functools.cached_property
    def _base(self) -> Target:
        return load_target(place(self.base), allow=self.allow)

    def _told(self, queries: HostQuery) -> Any:
        """What the base is told of some images; None for one that is told nothing."""
        conditioner, count = self._base.conditioner, len(queries.ids)
        if conditioner is None:
            return None
        if queries.prompts is not None and len(conditioner.columns) == 1:
            return conditioner({conditioner.columns[0]: np.asarray(queries.prompts)})
        nothing = conditioner.null()
        if nothing is None:
            raise UserError(
                f"base {self.base}: is told {conditioner.columns} of each image, of "
                "which the target knows nothing; give another base"
            )
        return jax.tree.map(lambda leaf: np.repeat(leaf[None], count, 0), nothing)


@dataclasses.dataclass(frozen=True)
class Probe:
    """Minus the distance to what the target draws from the image's own noise.

        l2 = -RMSE(x, G_target(z)),  z = inversion of x under the base

    One image is asked for, however the target draws it.

    Attributes:
      base: a workdir, or a target's own folder, of the base model.
      steps: of the inversion.
      allow: see `Inverted`.
    """

    base: str
    steps: int = 100
    allow: tuple[str, ...] = ()

    access: ClassVar[Access] = "samples"

    def __post_init__(self) -> None:
        _ = self.needs

    @property
    def needs(self) -> tuple[Product, ...]:
        """The noises."""
        return (Inverted(self.base, self.steps, self.allow),)

    @property
    def requests(self) -> tuple[int | None, ...]:
        """One, of as many steps as the target takes."""
        return (None,)

    def columns(self, model: Generator) -> Columns:
        """One column.

        Raises:
          UserError: the target takes no noise.
        """
        _require_steered(model)
        return Columns(("l2",), None, (QUERIES,), title="Noise as a probe")

    def batch(
        self, model: Any, queries: HostQuery, products: tuple[Any, ...]
    ) -> Reading:
        """The distances of some images.

        Raises:
          UserError: the target takes no noise, or noise of another shape.
        """
        _require_steered(model)
        what, noise = type(model).__name__, np.asarray(products[0]["noise"])
        fits = noise.shape[1:] == tuple(model.noise_shape)
        problem = f"draws from noise of shape {tuple(model.noise_shape)}"
        remedy = f"name a base with such, not {noise.shape[1:]}"
        require(fits, what, problem, remedy)
        drawn = model.draw(queries.prompts, queries.seeds, noise=noise)
        values = minus_rmse(queries.images, np.asarray(drawn))
        return Reading(values[:, None], np.ones((len(values), 1)))


def _require_steered(model: Any) -> None:
    problem = "draws from no noise but its own"
    remedy = "attack it by what it draws, or give a client that can"
    require(isinstance(model, Steered), type(model).__name__, problem, remedy)


@dataclasses.dataclass(frozen=True)
class _Inversion:
    """The task of one image: the standard normal noise that DDIM would draw it from."""

    sampler: Ddim

    def __call__(
        self, model: Denoiser, image: Image, condition: Any
    ) -> Float[Array, "..."]:
        x = encode(model, image, self.sampler, condition)
        return x / model.sde.std(jnp.float32(model.sde.t1))
