"""Products: what several signals read, and each image has once."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from score_mia.arrays import hashed
from score_mia.attacks.protocol import Access, HostQuery
from score_mia.check import at_least
from score_mia.sampling.kept import as_picture
from score_mia.target import Generator


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Images that the model draws when it is told what an image is told.

    Attributes:
      count: how many for each image, each with a seed of its own, a function of the
        audit's seed, the image's id and its number.
    """

    count: int = 1

    access: ClassVar[Access] = "samples"

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)

    def batch(
        self, model: Generator, queries: HostQuery
    ) -> dict[str, UInt8[np.ndarray, "n count h w c"]]:
        """ "images", 8 bits a colour, as a service sends them."""
        n, told = len(queries.ids), queries.prompts
        seeds = [
            hashed(queries.seeds, 1 + k) >> np.uint64(33) for k in range(self.count)
        ]
        prompts = None if told is None else [p for p in told for _ in range(self.count)]
        images = model.draw(prompts, np.stack(seeds, 1).ravel().astype(np.int64))
        return {"images": as_picture(images.reshape(n, self.count, *images.shape[1:]))}
