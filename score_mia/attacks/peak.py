"""The peak: a learned image is a place of little noise among its altered copies.

Without noise, the noise that a network sees in an image is small where the image was
learned (`sima`), and small where the image is plain. The second is told apart from the
first by copies that are as plain as the image but were not learned: its mirror image,
and itself moved by a pixel. So the statistic is by what factor the image holds less
noise than its copies do. It needs no reference image, and one evaluation for each copy
and level. PFAMI (2308.12143) holds losses at one noise against each other in this way,
of crops; here nothing is drawn.

The levels are places on the log-SNR, which all processes share.
docs/learned.md has what it comes to, and what it costs to leave parts of it out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Image
from score_mia.attacks.draws import chunked, log_size, power
from score_mia.attacks.protocol import (
    LATER,
    NETWORK_EVALUATIONS,
    Access,
    Columns,
    Product,
    Query,
    Reading,
)
from score_mia.attacks.times import check_placed, columns_of, placed, spent
from score_mia.check import at_least, one_of, require
from score_mia.target import Denoiser


def _moved(rows: int, columns: int) -> Callable[[Image], Image]:
    """The image moved down and right; what comes in repeats the edge."""

    def move(image: Image) -> Image:
        h, w, _ = image.shape
        padded = jnp.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
        top, left = 1 - rows, 1 - columns
        return padded[top : top + h, left : left + w]

    return move


COPIES: dict[str, Callable[[Image], Image]] = {
    "flip": lambda image: image[:, ::-1],
    "left": _moved(0, -1),
    "right": _moved(0, 1),
    "up": _moved(-1, 0),
    "down": _moved(1, 0),
}
"""Name -> the alteration, each of pixels and none that interpolates: a blurred copy is
plainer than its image."""

OWN = "own"


def _blurred(seen: Float[Array, "h w c"], block: int) -> Float[Array, "h w c"]:
    """Each pixel the mean of its block of so many rows and columns."""

    def means(n: int) -> np.ndarray:
        of = np.arange(n) // block
        same = of[:, None] == of[None, :]
        return (same / same.sum(axis=1, keepdims=True)).astype(np.float32)

    h, w, _ = seen.shape
    return jnp.einsum("ij,jkc,lk->ilc", means(h), seen, means(w))


def _inner(seen: Float[Array, "..."]) -> Float[Array, "..."]:
    """The middle half of the rows and of the columns."""
    h, w, _ = seen.shape
    return seen[h // 4 : h - h // 4, w // 4 : w - w // 4]


def _squared(seen: Float[Array, "..."]) -> Float[Array, ""]:
    return power(seen, 2.0)


WHOLE = "whole"
SIZES: dict[str, Callable[[Float[Array, "h w c"]], Float[Array, ""]]] = {
    "absolute": lambda seen: power(seen, 1.0),
    "fourth": lambda seen: power(seen, 4.0),
    "coarse": lambda seen: _squared(_blurred(seen, 4)),
    "middle": lambda seen: _squared(_blurred(seen, 2) - _blurred(seen, 4)),
    "fine": lambda seen: _squared(seen - _blurred(seen, 2)),
    "inner": lambda seen: _squared(_inner(seen)),
    "rim": lambda seen: _squared(seen) - _squared(_inner(seen)),
}
"""Name -> a size of the noise that is seen in an image; beside them `WHOLE`, the sum
of its p-th powers. "coarse", "middle" and "fine" are the squares of what changes over
4 pixels and more, over 2, and from pixel to pixel; their sum is that of all squares."""


@dataclasses.dataclass(frozen=True)
class Peak:
    """By what factor less noise is seen in the image than in its copies, a log.

        size(x)  = sum_i |eps(alpha(t) x, t)|_i^p
        peak@t   = mean_c log size(x_c) - log size(x)

    and, kept apart,

        own@t    = -log size(x)
        NAME@t   = log size(x_NAME) - log size(x)      for each copy

    for a rule that weighs them by known images, to which further `sizes` of the same
    noise cost nothing: own-SIZE@t, NAME-SIZE@t. A model that was trained on mirrored
    images has learned the mirror image too: leave "flip" out.

    Attributes:
      log_snrs: levels, of x in [-1, 1]. At 4 the noise is a seventh of half the range
        of the pixels, at 1 six tenths: there memory shows, whatever the process.
      times: in their place a number of times, spread by the process's own clock, or
        the times themselves.
      copies: which of `COPIES`.
      apart: whether each copy has its own columns; else their mean.
      order: p.
      chunk: bound on memory: evaluations made at once for each image.
      sizes: "whole" and which of `SIZES`: all are read off the same evaluations.
    """

    log_snrs: tuple[float, ...] = (4.0, 1.0)
    times: int | tuple[float, ...] | None = None
    copies: tuple[str, ...] = tuple(COPIES)
    apart: bool = False
    order: float = 2.0
    chunk: int = 12
    sizes: tuple[str, ...] = dataclasses.field(default=(WHOLE,), metadata=LATER)

    access: ClassVar[Access] = "scores"
    needs: ClassVar[tuple[Product, ...]] = ()

    def __post_init__(self) -> None:
        check_placed(self.times, self.log_snrs)
        for what, names, one, known in (
            ("copies", self.copies, "copy", tuple(COPIES)),
            ("sizes", self.sizes, "size", (WHOLE, *SIZES)),
        ):
            require(len(names) > 0, f"{what}=()", "is empty", f"name a {one}")
            for name in names:
                one_of(what, name, known)
            twice = len({*names}) < len(names)
            require(not twice, f"{what}={names}", "names one twice", "name each once")
        at_least("order", self.order, 1.0)
        at_least("chunk", self.chunk, 1)

    def at(self, model: Denoiser) -> Float[np.ndarray, " k"]:
        """The times of the columns; see `attacks.times.placed`."""
        return placed(model, self.times, self.log_snrs)

    def columns(self, model: Denoiser) -> Columns:
        """One column per size and time, or one of each for the image and each copy."""
        sde, times = model.sde, self.at(model)
        kinds = (OWN, *self.copies) if self.apart else ("peak",)
        kinds = [
            kind if size == WHOLE else f"{kind}-{size}"
            for size in self.sizes
            for kind in kinds
        ]
        return Columns(
            columns_of(kinds, sde, times),
            np.tile(times, len(kinds)),
            (NETWORK_EVALUATIONS,),
            self._cost(len(times)),
            title="Peak, image and copies apart" if self.apart else "Peak",
        )

    def _cost(self, times: int) -> float:
        return float(times * (1 + len(self.copies)))

    def __call__(self, model: Denoiser, query: Query, products: Any = ()) -> Reading:
        """The logarithms of one image."""
        sde, times = model.sde, self.at(model)
        told = model.embed(query.condition)
        altered = [COPIES[name](query.image) for name in self.copies]
        views = jax.lax.map(model.codec.encode, jnp.stack([query.image, *altered]))

        def read(row: tuple[Array, Array]) -> Array:
            view, t = row
            seen = model.eps(sde.alpha(t) * views[view], t, told)
            return log_size(jnp.stack([self._size(name, seen) for name in self.sizes]))

        shape = (len(views), len(times))
        view, time = (a.ravel() for a in np.indices(shape))
        rows = (jnp.asarray(view), jnp.asarray(times[time]))
        sizes = chunked(read, rows, self.chunk).reshape(*shape, len(self.sizes))
        sizes = jnp.moveaxis(sizes, -1, 0)
        own, cost = sizes[:, :1], spent(self._cost(len(times)))
        if self.apart:
            apart = jnp.concatenate([-own, sizes[:, 1:] - own], axis=1)
            return Reading(apart.ravel(), cost)
        return Reading((sizes[:, 1:].mean(axis=1) - own[:, 0]).ravel(), cost)

    def _size(self, name: str, seen: Array) -> Array:
        return power(seen, self.order) if name == WHOLE else SIZES[name](seen)
