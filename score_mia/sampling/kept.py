"""Samples on disk: drawn once, in parts, and gone on with after a kill.

Image i depends on (model, sampler, seed, i) alone and always has the same place in a
call of the same size, so that neither a kill nor a larger count asked for later changes
a bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from score_mia import device, profiling
from score_mia.check import at_least
from score_mia.hosts import ALONE, Host
from score_mia.rows import Advance, Ids, Shards, Words, compute, tiled
from score_mia.sampling.base import Sampler
from score_mia.sampling.draw import draw_rows, require_finite
from score_mia.target import Denoiser

_WORDS = Words("sample", "samples")


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Images drawn from a model, 8 bits a colour, by their numbers: a row task.

    Attributes:
      model, sampler, seed: as in `draw_rows`.
      shape: (h, w, c).
      made_of: JSON values that identify the model, above all its digest.
      conditions: from numbers [n] to a pytree of arrays [n, ...]; None for a network
        that is told nothing.
      tile: images per device and call.
      devices: of this process; None for all.
      words: how messages speak of them.
    """

    model: Denoiser
    sampler: Sampler
    seed: int
    shape: tuple[int, int, int]
    made_of: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    conditions: Callable[[Ids], Any] | None = None
    tile: int = 16
    devices: int | None = None
    words: Words = _WORDS

    def __post_init__(self) -> None:
        at_least("tile", self.tile, 1)

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that decides the images."""
        told = {"sampler": repr(self.sampler), "seed": self.seed, "tile": self.tile}
        return {**told, **self.made_of}

    @property
    def device(self) -> str:
        """On what they are drawn."""
        return device.name()

    @property
    def rows(self) -> int:
        """Images of one call, and of one part."""
        return self.tile * len(jax.local_devices()[: self.devices])

    def kept(
        self, folder: str | Path, count: int, *, first: int = 0, host: Host = ALONE
    ) -> Shards:
        """So many images ("images", uint8 [n, h, w, c]); only missing ones are drawn.

        Args:
          folder: where they are kept.
          count: how many.
          first: number of the first.
          host: which of several processes this is.

        Raises:
          UserError: the folder holds other samples or cannot be written, or the
            network's output stopped being finite.
        """
        at_least("count", count, 1)
        at_least("first", first, 0)
        ids = np.arange(first, first + count)
        return compute(self, ids, folder, shard=self.rows, host=host, endless=True)

    def __call__(self, ids: Ids, advance: Advance) -> dict[str, np.ndarray]:
        def draw(block: np.ndarray) -> jax.Array:
            told = None if self.conditions is None else self.conditions(block)
            return draw_rows(
                *(self.model, self.seed, block, self.shape, self.sampler),
                devices=self.devices,
                conditions=told,
            )

        def drawn(images: np.ndarray) -> None:
            profiling.tick("samples", images)
            require_finite(images)
            advance(len(images))

        return {"images": as_picture(tiled(draw, ids, self.rows, drawn))}


def as_picture(images: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Images in [0, 1] (clipped) as 8 bits."""
    return np.rint(255 * np.clip(images, 0.0, 1.0)).astype(np.uint8)
