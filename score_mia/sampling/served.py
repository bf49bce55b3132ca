"""A model of this process as the service that an attacker without its network meets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from score_mia.arrays import Image, Key
from score_mia.check import UserError, require
from score_mia.conditions import Conditioner
from score_mia.rows import tiled
from score_mia.sampling.base import Sampler
from score_mia.sampling.draw import Draw, Task, perform, times_from, vary
from score_mia.target import Denoiser, Guidance


@dataclasses.dataclass(frozen=True)
class Service:
    """How a model of one's own is met by who has no network: a value with a repr.

    Attributes:
      sampler: draws its images.
      conditioner: makes of a prompt what the model is told; None if that is nothing.
      shape: (h, w, c) of its images.
      rows: images of one call, per device.
      guidance: weight of classifier-free guidance; None for none.
    """

    sampler: Sampler
    conditioner: Conditioner | None
    shape: tuple[int, int, int]
    rows: int = 16
    guidance: float | None = None

    def of(self, model: Denoiser, *, observed: bool = False) -> Served:
        """The model's images, and, where they may be observed, those on the way."""
        kind = Watched if observed else Served
        model = guided(model, self.conditioner, self.guidance)
        return kind(model, self.sampler, self.conditioner, self.shape, self.rows)


def guided(
    model: Denoiser, conditioner: Conditioner | None, weight: float | None
) -> Denoiser:
    """The model under classifier-free guidance of a weight; itself without one.

    Raises:
      UserError: it has no condition that says nothing.
    """
    if weight is None:
        return model
    nothing = None if conditioner is None else conditioner.null()
    if nothing is None:
        raise UserError(
            f"sampler.guidance={weight!r}: the model has no condition that says "
            "nothing; leave it out"
        )
    return model.guided(Guidance(nothing, jnp.float32(weight)))


@dataclasses.dataclass(frozen=True)
class Served:
    """What "samples" signals get of a model that runs here.

    A `Generator` and `Varying`: its images are all there is; the network, its process
    and its times are no part of the view. An image depends on its prompt and its seed
    (and the image it varies) alone.

    Attributes:
      shape: (h, w, c) of its images.
    """

    _model: Denoiser
    _sampler: Sampler
    _conditioner: Conditioner | None
    shape: tuple[int, int, int]
    _rows: int = 16

    @property
    def noise_shape(self) -> tuple[int, int, int]:
        """Of one image's initial noise: that of x."""
        return self._model.codec.shape(self.shape)

    def draw(
        self,
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        noise: Float[np.ndarray, "n ..."] | None = None,
    ) -> Float[np.ndarray, "n h w c"]:
        """One image in [0, 1] for each seed; see `target.Steered`."""
        if noise is None:
            task = Draw(self._sampler, self.shape)
            return self._clipped(task, seeds, self._told(prompts))
        given = np.asarray(noise, np.float32)
        wanted = (len(seeds), *self.noise_shape)
        problem = f"is not {wanted}, one for each seed"
        ok = given.shape == wanted and bool(np.isfinite(given).all())
        require(ok, f"noise of shape {given.shape}", problem, "give finite numbers so")
        task = _From(self._sampler)
        return self._clipped(task, seeds, self._told(prompts), given)

    def vary(
        self,
        images: Float[np.ndarray, "n h w c"],
        prompts: Sequence[Any] | None,
        seeds: Int[np.ndarray, " n"],
        *,
        strength: float,
        steps: int,
    ) -> Float[np.ndarray, "n h w c"]:
        """Each image noised a share of the way and denoised; see `target.Varying`."""
        task = _Trace(self._sampler, strength, steps)
        return self._states(task, images, prompts, seeds)[:, -1]

    def _states(
        self,
        task: _Trace,
        images: np.ndarray,
        prompts: Sequence[Any] | None,
        seeds: np.ndarray,
    ) -> np.ndarray:
        given = np.asarray(images, np.float32)
        return self._clipped(task, seeds, self._told(prompts), given)

    def _told(self, prompts: Sequence[Any] | None) -> Any:
        """The conditions of n prompts; a prompt is the column the conditioner reads."""
        if self._conditioner is None:
            require(
                prompts is None, "prompts", "mean nothing to this model", "give None"
            )
            return None
        columns = self._conditioner.columns
        problem = f"are what the model is told, which is made of {columns}"
        remedy = "give one for each seed, to a model whose conditioner reads one column"
        require(prompts is not None and len(columns) == 1, "prompts", problem, remedy)
        return self._conditioner({columns[0]: np.asarray(prompts)})

    def _clipped(self, task: Task, seeds: np.ndarray, *given: Any) -> np.ndarray:
        """What the task makes of each row, in calls of one size."""
        seeds = np.asarray(seeds, np.int64)
        require(len(seeds) > 0, "seeds", "are none", "give one for each image")
        halves = ((seeds >> 32).astype(np.uint32), seeds.astype(np.uint32))
        keys = _keys(*map(jnp.asarray, halves))

        def call(rows: np.ndarray) -> Array:
            row = jax.tree.map(lambda a: a[rows], (keys, *given))
            return perform(task, self._model, row, None)

        count = self._rows * jax.local_device_count()
        return np.clip(tiled(call, np.arange(len(seeds)), count), 0.0, 1.0)


@final
class Watched(Served):
    """What "observed" signals get: `Served`, and the images on the way."""

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
        """`vary` after each of its steps; see `target.Observed`."""
        task = _Trace(self._sampler, strength, steps, denoised)
        return self._states(task, images, prompts, seeds)


def _keys(high: Array, low: Array) -> Array:
    """The key of each 64-bit seed."""
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    return jax.vmap(jax.random.fold_in)(fold(jax.random.key(0), high), low)


@dataclasses.dataclass(frozen=True)
class _From:
    """One image from the noise that it is given; what a sampler adds is the key's."""

    sampler: Sampler

    def __call__(
        self, model: Denoiser, key: Key, condition: Any, noise: Image
    ) -> Float[Array, "h w c"]:
        x = model.sde.std(model.sde.t1) * noise
        times = self.sampler.times(model.sde)
        own = jax.random.split(key)[1]  # as in `sampling.trajectory`
        x, _ = self.sampler.run(model, x, times, own, condition)
        return model.codec.decode(x)


@dataclasses.dataclass(frozen=True)
class _Trace:
    """One image's decoded states after each step of its variation.

    Attributes:
      denoised: take what the model predicts before each step instead.
    """

    sampler: Sampler
    strength: float
    steps: int
    denoised: bool = False

    def __call__(
        self, model: Denoiser, key: Key, condition: Any, image: Image
    ) -> Float[Array, "steps h w c"]:
        times = times_from(self.sampler, model.sde, self.strength, self.steps)
        sampler = dataclasses.replace(self.sampler, denoise=True)
        last, before = vary(
            *(model, image, times, key, sampler, condition),
            lambda x, x0, t: x0 if self.denoised else x,
        )
        if self.denoised:
            return jax.vmap(model.codec.decode)(before)
        states = jax.vmap(model.codec.decode)(before[1:])
        return jnp.concatenate([states, last[None]])
