"""Is some image near this one a member? After RaMIA (Tao & Shokri 2024, 2408.05131).

A member that was mirrored, moved or dimmed before it is asked about may look like any
other image to an attack, although the model gives the member away. Range membership
inference asks about a range of images: copies are drawn from it, each is scored by an
attack on one image, and the range's score is a trimmed mean of theirs. Of the paper the
abstract's idea was had: which changes, how many copies and what is trimmed is ours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image, Key
from score_mia.attacks.nested import Nested, require_signal
from score_mia.attacks.pfami import cropped
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    QUERIES,
    Columns,
    Product,
    Query,
    Reading,
    Signal,
    fingerprint,
)
from score_mia.check import at_least, require, within

_ASKED, _COPIES = 0xA5CED, 0xC0B1E5
"""What the image's key is folded with, so that no signal's noise is drawn from it."""

_SUMMED = (NETWORK_EVALUATIONS, QUERIES)
"""Diagnostics that are costs: of all copies together. Of others the mean is told."""


@dataclasses.dataclass(frozen=True)
class Range:
    """The images that an image may be changed into, as a law to draw them from.

    The changes are made in this order, each drawn by itself.

    Attributes:
      flip: the chance of being mirrored, left to right; 1 for always.
      crop: at most so much of the height and width is cut off around the middle, which
        is brought to the old size; uniform, from nothing.
      shift: moved by at most so many pixels up or down, and left or right; uniform.
        What enters is the border, repeated.
      brightness: at most so much is added to all pixels or taken away; uniform.
      noise: standard deviation of Gaussian noise on the pixels, which are in [0, 1] and
        are brought back there.
    """

    flip: float = 0.0
    crop: float = 0.0
    shift: int = 0
    brightness: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        within("range.flip", self.flip, 0.0, 1.0)
        within("range.crop", self.crop, 0.0, 0.9)
        at_least("range.shift", self.shift, 0)
        within("range.brightness", self.brightness, 0.0, 1.0)
        within("range.noise", self.noise, 0.0, 1.0)
        changes = "flip=, crop=, shift=, brightness= or noise="
        require(bool(self.words), "range", "changes nothing", f"give {changes}")

    @property
    def words(self) -> str:
        """For a title."""
        each = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return ", ".join(f"{name} {value:g}" for name, value in each.items() if value)

    def draw(self, key: Key, image: Image) -> Image:
        """One image of the range around an image in [0, 1], of the same shape.

        What is drawn for one change does not depend on which others there are.
        """
        keys = jax.random.split(key, 5)
        if self.flip:
            mirrored = jax.random.uniform(keys[0]) < self.flip
            image = jnp.where(mirrored, image[:, ::-1], image)
        if self.crop:
            side = jax.random.uniform(keys[1], minval=1 - self.crop, maxval=1.0)
            image = cropped(image, side)
        if self.shift:
            image = _shifted(image, keys[2], self.shift)
        if self.brightness:
            most = self.brightness
            image = image + jax.random.uniform(keys[3], minval=-most, maxval=most)
        if self.noise:
            image = image + self.noise * jax.random.normal(keys[4], image.shape)
        return jnp.clip(image, 0.0, 1.0)


def _shifted(image: Image, key: Key, most: int) -> Image:
    places = jax.random.randint(key, (2,), 0, 2 * most + 1)
    around = ((most, most), (most, most), (0, 0))
    padded = jnp.pad(image, around, mode="edge")
    zero = jnp.zeros((), places.dtype)
    return jax.lax.dynamic_slice(padded, (*places, zero), image.shape)


NEAR = Range(flip=0.5, shift=2)
"""What a picture goes through on its way, if nothing else is said."""


@dataclasses.dataclass(frozen=True)
class Ranged(Nested):
    """Each column of another signal, as a trimmed mean over copies of the image.

        ranged = mean of v_(i+1), ..., v_(j),   i = low K,  j = high K, rounded

    with v_(1) <= ... <= v_(K) the column of the image itself and of K - 1 copies drawn
    from the range around it. All copies have the image's own noise and condition, so
    that they differ by what they show; with count=1 it is the signal itself.

    Attributes:
      signal: whose columns, `dict(name="loss", ...)`; a traced one, which needs nothing
        made of the image beforehand.
      within: the range, `dict(flip=, crop=, shift=, brightness=, noise=)`, of which
        what is not given is not changed; flip=0.5 and shift=2 if there is none.
      count: K, the image itself among them.
      low, high: which quantiles of the copies are kept, of [0, 1]; the upper quarter,
        for a range has a member if its best copies say so.
      asked: a range out of which the image is first drawn; None for the image as it is.
        For an audit that asks about altered members: what is altered depends on the
        audit's seed and the image alone, so the same copy is asked about by every
        `ranged` that is asked the same, and by count=1, which is the plain attack.
    """

    within: Range = NEAR
    count: int = 16
    low: float = 0.75
    high: float = 1.0
    asked: Range | None = None

    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        require_signal("ranged", self.signal)
        kind = type(self.signal).__name__
        remedy = "give a traced one, such as dict(name='loss')"
        traced = isinstance(self.signal, Signal)
        require(traced, "ranged.signal", f"{kind} is asked on the host", remedy)
        problem = f"{kind} reads what is made of the image itself, not of its copies"
        remedy = "put that one around: signal=dict(name=..., signal=dict(name='ranged'"
        require(not self.signal.needs, "ranged.signal", problem, f"{remedy}, ...))")
        at_least("count", self.count, 1)
        within("low", self.low, 0.0, 1.0)
        within("high", self.high, 0.0, 1.0)
        ends = f"low={self.low!r}, high={self.high!r}"
        problem = "are no quantiles to keep what is between"
        require(self.low < self.high, ends, problem, "give low < high")

    @property
    def kept(self) -> tuple[int, int]:
        """The places i and j, of which there is at least one between."""
        first = min(round(self.low * self.count), self.count - 1)
        return first, max(round(self.high * self.count), first + 1)

    def columns(self, model: object) -> Columns:
        """Those of the inner signal, at the cost of all copies."""
        inner, title = self.inner(model)
        if self.count > 1:
            first, last = self.kept
            which = f"best {last - first}" if last == self.count else f"{last - first}"
            title += f", {which} of {self.count} copies ({self.within.words})"
        if self.asked is not None:
            title += f", asked about altered images ({self.asked.words})"
        cost = inner.evaluations
        made = None if cost is None else self.count * cost
        return inner._replace(evaluations=made, title=title)

    def fingerprint(self) -> str:
        """That of the inner signal."""
        return fingerprint(self.signal).get("of", "")

    def __call__(
        self, model: object, query: Query, products: tuple[Mapping[str, Array], ...]
    ) -> Reading:
        """The trimmed means of one image, and the diagnostics of all its copies."""
        assert isinstance(self.signal, Signal)
        names = self.signal.columns(model).diagnostics
        if self.asked is not None:
            altered = self.asked.draw(
                jax.random.fold_in(query.key, _ASKED), query.image
            )
            query = query._replace(image=altered)
        own = jax.random.fold_in(query.key, _COPIES)

        def reading(place: Array) -> tuple[Array, Array]:
            drawn = self.within.draw(jax.random.fold_in(own, place), query.image)
            image = jnp.where(place == 0, query.image, drawn)
            values, told = self.signal(model, query._replace(image=image), ())
            return jnp.ravel(jnp.asarray(values)), jnp.ravel(jnp.asarray(told))

        values, told = jax.lax.map(reading, jnp.arange(self.count))
        summed = np.isin(names, _SUMMED)
        diagnostics = jnp.where(summed, told.sum(axis=0), told.mean(axis=0))
        return Reading(self._trimmed(values), diagnostics)

    def _trimmed(self, values: Float[Array, "count k"]) -> Float[Array, " k"]:
        first, last = self.kept
        mean = jnp.sort(values, axis=0)[first:last].mean(axis=0)
        # A copy that could not be read is told, also where it would be trimmed away.
        return jnp.where(jnp.isnan(values).any(axis=0), jnp.nan, mean)
