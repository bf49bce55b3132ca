"""The front doors: draw one image, observe it, vary it, invert it; draw many."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, ArrayLike, Float, Int

from score_mia.arrays import Image, Key
from score_mia.check import at_least, positive, require, within
from score_mia.device import jit, mesh, size
from score_mia.sampling.base import Observer, Sampler
from score_mia.sampling.samplers import Ddim
from score_mia.sde import SDE
from score_mia.target import Denoiser


def sample(
    model: Denoiser,
    key: Key,
    shape: tuple[int, int, int],
    sampler: Sampler,
    condition: Any = None,
) -> Image:
    """One image of the target's distribution, decoded to [0, 1] but not clipped.

    Args:
      model: whose outputs are asked for.
      key: the only source of randomness.
      shape: (h, w, c).
      sampler: see `SAMPLERS`.
      condition: one row of what the network is conditioned on.
    """
    return trajectory(model, key, shape, sampler, None, condition)[0]


def trajectory(
    model: Denoiser,
    key: Key,
    shape: tuple[int, int, int],
    sampler: Sampler,
    observe: Observer | None,
    condition: Any = None,
) -> tuple[Image, Any]:
    """`sample`, and what `observe(x_t, denoised, t)` saw at each time on the way.

    x_t and denoised are in the target's space. The observations are stacked along a
    new first axis, from t1 down; with a corrector they are those before the
    predictor's move.
    """
    prior, noise = jax.random.split(key)
    x = model.sde.std(model.sde.t1) * jax.random.normal(
        prior, model.codec.shape(shape), jnp.float32
    )
    times = sampler.times(model.sde)
    x, seen = sampler.run(model, x, times, noise, condition, observe)
    return model.codec.decode(x), seen


def vary(
    model: Denoiser,
    image: Image,
    times: Float[ArrayLike, " n"],
    key: Key,
    sampler: Sampler,
    condition: Any = None,
    observe: Observer | None = None,
) -> tuple[Image, Any]:
    """An image noised up to times[0] and denoised from there (img2img).

    Meng et al. 2022, SDEdit (2108.01073). The image returned is decoded and unclipped;
    observations are those of `trajectory`.

    Args:
      model: whose outputs are asked for.
      image: in [0, 1].
      times: descending, such as those of `times_from`.
      key: the only source of randomness.
      sampler: see `SAMPLERS`.
      condition: one row of what the network is conditioned on.
      observe: what to look at on the way.
    """
    start, noise = jax.random.split(key)
    clean = model.codec.encode(image)
    z = jax.random.normal(start, clean.shape, jnp.float32)
    x = model.sde.perturb(clean, jnp.asarray(times)[0], z)
    x, seen = sampler.run(model, x, times, noise, condition, observe)
    return model.codec.decode(x), seen


def times_from(
    sampler: Sampler, sde: SDE, strength: float, steps: int
) -> Float[np.ndarray, " n"]:
    """The times of `steps` moves that begin the share `strength` of the way up.

    Args:
      sampler: whose spacing says where the times lie; its own steps do not matter.
      sde: the process.
      strength: above 0, up to 1, which begins at t1.
      steps: how many, evenly along the spacing down to t0; a single one goes from the
        start to the clean image at once.
    """
    positive("strength", strength)
    within("strength", strength, 0.0, 1.0)
    at_least("steps", steps, 1)
    whole = dataclasses.replace(sampler, steps=None).times(sde)
    first = (1.0 - strength) * (len(whole) - 1)
    rows = np.unique(np.rint(np.linspace(first, len(whole) - 1, steps)).astype(int))
    ok = len(rows) == steps
    problem = f"are more than the {len(whole) - round(first)} times there"
    require(ok, f"steps={steps} at strength={strength!r}", problem, "give fewer steps")
    return whole[rows]


def encode(
    model: Denoiser, image: Image, sampler: Ddim, condition: Any = None
) -> Image:
    """DDIM inversion: the latent x at t1 that a deterministic `decode` leads back from.

    Song et al. 2021a, Eq. 13: the sampler run upwards, from the image moved to t0 along
    the noise that the network predicts in it there. The round trip's error is of first
    order in the step.
    """
    _deterministic(sampler)
    sde, x = model.sde, model.codec.encode(image)
    upward = dataclasses.replace(sampler, denoise=False)
    x = sde.perturb(x, sde.t0, model.eps(x, sde.t0, condition))
    times = sampler.times(sde)[::-1]
    return upward.run(model, x, times, jax.random.key(0), condition)[0]


def decode(
    model: Denoiser, latent: Image, sampler: Ddim, condition: Any = None
) -> Image:
    """The image in [0, 1] (unclipped) that deterministic DDIM makes of x at t1."""
    _deterministic(sampler)
    times = sampler.times(model.sde)
    x, _ = sampler.run(model, latent, times, jax.random.key(0), condition)
    return model.codec.decode(x)


def _deterministic(sampler: Ddim) -> None:
    problem = "adds noise, which no inversion can undo"
    require(sampler.eta == 0.0, f"eta={sampler.eta!r}", problem, "give eta=0")


Task = Callable[..., Image]
"""`task(model, *rows)`: what is made of one row, a hashable value."""


@functools.lru_cache(maxsize=32)
def _program(task: Task, devices: int, parameters: int) -> Callable:
    def rows(model: Denoiser, given: Any) -> Array:
        return jax.vmap(lambda row: task(model, *row))(given)

    split = PartitionSpec("data")
    return jit(
        jax.shard_map(
            rows,
            mesh=mesh(devices),
            in_specs=(PartitionSpec(), split),
            out_specs=split,
            check_vma=False,
        ),
        parameters=parameters,
    )


def perform(task: Task, model: Denoiser, given: Any, devices: int | None) -> Array:
    """A task on every row of a batch, by one call that is not waited for.

    Args:
      task: from the model and one row to an array.
      model: the model.
      given: a tuple of pytrees of arrays [n, ...], n a multiple of the devices.
      devices: of this process; None for all.

    Returns:
      What the task makes of each row, [n, ...].
    """
    width = len(jax.local_devices()[:devices])
    return _program(task, width, size(model))(model, given)


@dataclasses.dataclass(frozen=True)
class Draw:
    """The task of one image from its key."""

    sampler: Sampler
    shape: tuple[int, int, int]

    def __call__(self, model: Denoiser, key: Key, condition: Any) -> Image:
        return sample(model, key, self.shape, self.sampler, condition)


def draw_rows(
    model: Denoiser,
    seed: int,
    ids: Int[np.ndarray, " n"],
    shape: tuple[int, int, int],
    sampler: Sampler,
    *,
    devices: int | None,
    conditions: Any = None,
) -> Float[Array, "n h w c"]:
    """The images of these numbers, unclipped, by one call that is not waited for.

    Args:
      model, shape, sampler: as in `sample`.
      seed: of all images; image i has the key fold_in(key(seed), i), whatever the
        call and the devices (up to float rounding).
      devices: of this process; all by default.
      ids: numbers of the images, a multiple of the number of devices of them.
      conditions: pytree of arrays [n, ...], or None.
    """
    fold = jax.vmap(jax.random.fold_in, (None, 0))
    keys = fold(jax.random.key(seed), jnp.asarray(ids, jnp.uint32))
    told = jax.tree.map(np.asarray, conditions)
    return perform(Draw(sampler, tuple(shape)), model, (keys, told), devices)


def require_finite(images: Float[np.ndarray, "n h w c"]) -> None:
    """Refuse what a diverged target draws."""
    bad = int(np.sum(~np.isfinite(images).all(axis=(1, 2, 3))))
    problem = f"{bad} of {len(images)} hold NaN or infinite values"
    remedy = "train the target longer, or give the sampler more steps"
    require(bad == 0, "samples", problem, remedy)
