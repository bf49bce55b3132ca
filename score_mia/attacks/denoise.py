"""Denoising an image and looking on (Dubinski et al. 2023, 2306.12983, LAION-mi).

The image is noised to some level, the network is asked at several levels in turn, and
at each three errors are taken, averaged over noises:

    model    mean (eps - eps_theta)^2, of the answer to the image's own condition
    latent   mean (x - x_0)^2, after the step that is taken there
    pixel    mean |255 (image - decoded x)|, of images of 8 bits a colour

Members have the smaller ones. All settings of the paper are rows of one signal, and lie
with the paper's other parts.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image, Key, Scalar, ScalarLike
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import LEVELS, at_levels
from score_mia.check import UserError, at_least, one_of, require, within
from score_mia.conditions import NULL
from score_mia.sde import SDE
from score_mia.target import Denoiser, Embedded

LOSSES = ("model", "latent", "pixel")

State = Float[Array, "..."]
"""x in the model's own space."""


class Visit(NamedTuple):
    """One level that the network is asked at; the loop scans over these.

    Attributes:
      t, alpha, std: of the level.
      to_alpha, to_std: of the level that its step ends at; (1, 0) for the clean image.
      shift: standard deviation of what is added to x before.
      index: its number.
    """

    t: Any
    alpha: Any
    std: Any
    to_alpha: Any
    to_std: Any
    shift: Any
    index: Any


@dataclasses.dataclass(frozen=True)
class Denoise:
    """Minus the errors of an image that is denoised, by level.

    Levels are counted out of 1,000 on the process's own clock, whatever it is: 0 is
    nearly clean, 999 the most noise.

    Attributes:
      first, last, step: the levels that are visited, downwards; each step of the
        deterministic sampler (DDIM) goes down by `step`.
      upwards: visit them in increasing order instead.
      iterative: go on with what the step before left; else the image is noised anew,
        with the same noise, to each level.
      start: level that the image is noised to at first; None for noise alone, which is
        all that a black box can be asked for.
      fixed: not iterative, and noised to `start` whatever the network is told.
      guidance: weight of classifier-free guidance of the steps; 0 for none.
      text_shift: standard deviation of what is added to the embedded condition.
      latent_shift: of what is added to x at the level `shift_at`.
      shift_at: None for no level, as in the published code, which never reaches its.
      losses: which errors, of "model", "latent" and "pixel".
      draws: noises, averaged over.
    """

    first: int = 300
    last: int = 50
    step: int = 10
    upwards: bool = False
    iterative: bool = True
    start: int | None = 300
    fixed: bool = False
    guidance: float = 7.5
    text_shift: float = 0.0
    latent_shift: float = 0.0
    shift_at: int | None = None
    losses: tuple[str, ...] = LOSSES
    draws: int = 5

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        within("first", self.first, 0, LEVELS - 1)
        within("last", self.last, 0, self.first)
        at_least("step", self.step, 1)
        at_least("draws", self.draws, 1)
        for name in ("guidance", "text_shift", "latent_shift"):
            at_least(name, float(vars(self)[name]), 0.0)
        require(len(self.losses) > 0, "losses", "is empty", f"name some of {LOSSES}")
        for loss in self.losses:
            one_of("losses", loss, LOSSES)
        if self.start is not None:
            within("start", self.start, 0, LEVELS - 1)
        ok = not self.fixed or (not self.iterative and self.start is not None)
        remedy = "give iterative=False and a start, or leave it out"
        require(ok, "fixed=True", "is for an image that is noised anew", remedy)
        if self.shift_at is not None:
            here = self.shift_at in self.levels
            remedy = f"give one of {self.levels[:8]} ..."
            require(here, f"shift_at={self.shift_at}", "is not visited", remedy)

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels in the order in which they are visited."""
        down = tuple(range(self.first, self.last - 1, -self.step))
        return down[::-1] if self.upwards else down

    def columns(self, model: Denoiser) -> Columns:
        """A column for each error at each level."""
        names = tuple(f"{loss}@{t}" for loss in self.losses for t in self.levels)
        times = np.tile(at_levels(model.sde, self.levels), len(self.losses))
        return Columns(
            names, times, (NETWORK_EVALUATIONS,), self._evaluations, title="Denoising"
        )

    @property
    def _evaluations(self) -> float:
        """Of one image; a guided step asks twice."""
        return float((2 if self.guidance else 1) * self.draws * len(self.levels))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """Minus the errors of one image."""
        draws = jnp.arange(self.draws)
        keys = jax.vmap(lambda draw: jax.random.fold_in(query.key, draw))(draws)
        errors = jax.lax.map(lambda key: self._errors(model, query, key), keys)
        values = -jnp.mean(errors, axis=0).T  # [losses, levels]
        cost = jnp.full((1,), self._evaluations, jnp.float32)
        return Reading(values.ravel(), cost)

    def _errors(
        self, model: Denoiser, query: Query, key: Key
    ) -> Float[Array, "levels losses"]:
        """Of one noise."""
        sde, clean = model.sde, model.codec.encode(query.image)
        noise = jax.random.normal(jax.random.fold_in(key, 0), clean.shape)
        own, free = self._told(model, query, key)

        def noised(t: ScalarLike) -> State:
            return sde.perturb(clean, t, noise)

        start = sde.std(sde.t1) * noise
        if self.start is not None:
            start = noised(float(at_levels(sde, (self.start,))[0]))

        def visit(x: State, at: Visit) -> tuple[State, Float[Array, " losses"]]:
            if not self.iterative:
                x = start if self.fixed else noised(at.t)
            if self.latent_shift and self.shift_at is not None:
                moved = jax.random.fold_in(key, 3 + at.index)
                x = x + at.shift * jax.random.normal(moved, x.shape)
            said = eps = model.eps(x, at.t, own)
            if self.guidance:
                nothing = model.eps(x, at.t, free)
                eps = nothing + self.guidance * (said - nothing)
            x = at.to_alpha * (x - at.std * eps) / at.alpha + at.to_std * eps
            return x, self._taken(model, query.image, clean, x, said - noise)

        return jax.lax.scan(visit, start, self._visits(sde))[1]

    def _taken(
        self, model: Denoiser, image: Image, clean: State, x: State, wrong: State
    ) -> Float[Array, " losses"]:
        """The errors after a step."""

        def pixel() -> Scalar:
            seen = jnp.rint(255 * jnp.clip(model.codec.decode(x), 0.0, 1.0))
            return jnp.mean(jnp.abs(255 * image - seen))

        errors = {
            "model": lambda: jnp.mean(wrong**2),
            "latent": lambda: jnp.mean((x - clean) ** 2),
            "pixel": pixel,
        }
        return jnp.stack([errors[loss]() for loss in self.losses])

    def _told(self, model: Denoiser, query: Query, key: Key) -> tuple[Any, Any]:
        """The image's own condition and the one that says nothing, embedded."""
        free = query.conditions.get(NULL)
        if self.guidance and free is None:
            raise UserError(
                f"denoise: guidance={self.guidance!r} needs a model with a condition "
                "that says nothing; give 0"
            )
        told = (model.embed(query.condition), model.embed(free))
        if not self.text_shift:
            return told
        if told[0] is None:
            raise UserError("denoise: text_shift: the model is told nothing; give 0")
        keys = (jax.random.fold_in(key, 1), jax.random.fold_in(key, 2))
        own, free = map(functools.partial(_shifted, by=self.text_shift), told, keys)
        return own, free

    def _visits(self, sde: SDE) -> Visit:
        """The levels' numbers, stacked [levels]."""
        below = np.asarray(self.levels) - self.step
        t = jnp.asarray(at_levels(sde, self.levels))
        ends = jnp.asarray(at_levels(sde, np.maximum(below, 0).tolist()))
        to_alpha, to_std = jax.vmap(sde.alpha)(ends), jax.vmap(sde.std)(ends)
        shifted = np.asarray(self.levels) == self.shift_at
        return Visit(
            t,
            jax.vmap(sde.alpha)(t),
            jax.vmap(sde.std)(t),
            jnp.where(below < 0, 1.0, to_alpha),
            jnp.where(below < 0, 0.0, to_std),
            jnp.asarray(self.latent_shift * shifted, jnp.float32),
            jnp.arange(len(t), dtype=jnp.uint32),
        )


def _shifted(condition: Embedded | None, key: Key, by: float) -> Embedded | None:
    """An embedded condition with normal noise on its numbers."""
    if condition is None:
        return None
    leaves, tree = jax.tree.flatten(condition)
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise UserError(
            "denoise: text_shift: the model embeds no text before its network sees it; "
            "give 0"
        )
    moved = [
        leaf + by * jax.random.normal(jax.random.fold_in(key, i), leaf.shape)
        for i, leaf in enumerate(leaves)
    ]
    return jax.tree.unflatten(tree, moved)
