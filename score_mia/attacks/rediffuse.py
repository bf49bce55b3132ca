"""ReDiffuse: the mean of a member's variations is the member (Li et al., 2405.20771).

"Towards Black-Box Membership Inference Attack for Diffusion Models", ICML 2025. A
service that varies images is given the candidate several times. What it changes at
random averages out; what is left is how far it moves the image on the whole, and it
moves least what its model was trained on.

The paper's variations noise to level 200 of 1,000 and come back deterministically in
strides of 100; which sampler answers is the service's own (`sampler` of a config). Its
other head is a ResNet-18 on the difference pixel by pixel: with `pixels` that is what
is read, and the rule `convnet` is the head.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from score_mia.attacks.likeness import (
    minus_dssim,
    minus_mae,
    minus_rmse,
    require_skimage,
)
from score_mia.attacks.pixels import Pixels, check_pixels, check_shape, pixelwise
from score_mia.attacks.products import Varied
from score_mia.attacks.protocol import (
    LATER,
    QUERIES,
    Access,
    Columns,
    HostQuery,
    Product,
    Reading,
)
from score_mia.check import at_least, one_of, require
from score_mia.readings import pixel_names
from score_mia.target import Generator

DISTANCES = {"l1": minus_mae, "l2": minus_rmse, "ssim": minus_dssim}
"""Name -> what is minus the distance of two pictures."""


@dataclasses.dataclass(frozen=True)
class Rediffuse:
    """Minus the distance between an image and the mean of its variations.

    Attributes:
      n: variations, averaged over.
      distances: a column each, of "l1" (mean absolute), "l2" (root mean square) and
        "ssim" ((1 - SSIM) / 2, which needs the extra "images").
      drawn: how many are asked for and kept, so that attacks of different n share them;
        None for n.
      strength: the share of the way that the image is noised.
      steps: in which it comes back.
      pixels: (h, w, c) for minus the absolute difference itself in the place of
        distances, a column for each pixel ("rediffuse/03,17,2"): the shape of the
        images; or a height and width smaller by whole factors, to take means over so
        many pixels. None for the distances.
    """

    n: int = 10
    distances: tuple[str, ...] = ("l1", "l2")
    drawn: int | None = None
    strength: float = 0.2
    steps: int = 3
    pixels: Pixels | None = dataclasses.field(default=None, metadata=LATER)

    access: ClassVar[Access] = "samples"

    def __post_init__(self) -> None:
        at_least("n", self.n, 1)
        known = ", ".join(DISTANCES)
        require(len(self.distances) > 0, "distances=()", "is empty", f"name {known}")
        for distance in self.distances:
            one_of("distances", distance, DISTANCES)
        if "ssim" in self.distances:
            require_skimage("distances='ssim'")
        if self.drawn is not None:
            at_least("drawn", self.drawn, self.n)
        if self.pixels is not None:
            check_pixels(self.pixels)
            ok = self.distances == Rediffuse.distances
            told = f"distances={self.distances}"
            require(ok, told, "are not read beside pixels", "leave one of them out")
        _ = self.needs

    @property
    def needs(self) -> tuple[Product, ...]:
        """The variations."""
        return (Varied(self.drawn or self.n, self.strength, self.steps),)

    def columns(self, model: Generator) -> Columns:
        """A column for each distance, or for each pixel.

        Raises:
          UserError: the model's images do not have these pixels.
        """
        names, title = self.distances, f"ReDiffuse, n = {self.n}"
        if self.pixels is not None:
            check_shape(self.pixels, model.shape)
            names = pixel_names("rediffuse", self.pixels)
            title += ", pixel by pixel"
        return Columns(names, None, (QUERIES,), title=title)

    def batch(
        self, model: Any, queries: HostQuery, products: tuple[Any, ...]
    ) -> Reading:
        """The distances of some images, or the differences."""
        drawn = products[0]["images"][:, : self.n].astype(np.float64) / 255
        pair = queries.images.astype(np.float64), drawn.mean(axis=1)
        asked = np.full((len(drawn), 1), float(self.n))
        if self.pixels is not None:
            return Reading(pixelwise(pair[0] - pair[1], self.pixels), asked)
        values = [DISTANCES[distance](*pair) for distance in self.distances]
        return Reading(np.stack(values, axis=1), asked)
