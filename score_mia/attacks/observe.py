"""What img2img does to an image (Cilloni, Fleming & Walter 2023, 2311.09355).

A model that has seen an image leaves it, or comes back to it, in another way than one
that has not. An *informer* shows a sequence of images that begin with the candidate: a
grey box those of one run after each of its steps, a black box the ends of several runs,
each stronger than the one before. An *observer* says which of them are compared, a
distance how. What becomes of the distances is the rule's: "logistic", "svm", "tree",
"bayes" and "neighbours" are theirs.

Their text gives neither strength nor steps nor prompt: they are fields here, and the
study varies them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from score_mia.attacks.likeness import (
    DISTANCES,
    blurred,
    require_skimage,
    token_similarity,
)
from score_mia.attacks.products import Runs, Traced
from score_mia.attacks.protocol import (
    QUERIES,
    Access,
    Columns,
    HostQuery,
    Product,
    Reading,
)
from score_mia.check import at_least, one_of, require
from score_mia.encoders import AnEncoder, encode, usual_encoder
from score_mia.target import Generator

OBSERVERS = ("one_shot", "complete", "progressive")


@dataclasses.dataclass(frozen=True)
class Observe:
    """How far img2img takes an image, step by step; larger = less far.

    Attributes:
      observer: "one_shot", the image against the last of the sequence; "complete",
        against each; "progressive", each against the one before.
      distance: "psnr", "dssim", "rmse", or "features", the Euclidean distance of an
        encoder's pooled features.
      informer: "grey", the images of one run on the way; "black", the ends of runs.
      steps: of the grey box's run, or how many runs the black box makes; the length of
        the sequence.
      strength: how far the (last) run noises the image.
      denoised: of the grey box, the clean images that the model predicts.
      run_steps: of the black box's last run; None for as many as there are runs.
      blur: radius of a box blur of both images before they are compared; 0 for none.
      encoder: for "features"; see `quality.encoder`.
    """

    observer: str = "complete"
    distance: str = "psnr"
    informer: str = "grey"
    steps: int = 10
    strength: float = 0.5
    denoised: bool = False
    run_steps: int | None = None
    blur: int = 0
    encoder: AnEncoder = dataclasses.field(default_factory=usual_encoder)

    def __post_init__(self) -> None:
        one_of("observer", self.observer, OBSERVERS)
        one_of("distance", self.distance, (*DISTANCES, "features"))
        one_of("informer", self.informer, ("grey", "black"))
        at_least("blur", self.blur, 0)
        ok = self.informer == "grey" or not self.denoised
        require(ok, "denoised=True", "cannot be had of a black box", "leave it out")
        if self.distance == "dssim":
            require_skimage("distance='dssim'")
        _ = self.needs

    @property
    def access(self) -> Access:
        """That of its informer."""
        return "observed" if self.informer == "grey" else "samples"

    @property
    def needs(self) -> tuple[Product, ...]:
        """The sequence."""
        if self.informer == "grey":
            return (Traced(self.strength, self.steps, self.denoised),)
        return (Runs(self.steps, self.strength, self.run_steps or self.steps),)

    def fingerprint(self) -> str:
        """Of the encoder's weights, where they have a part in it."""
        return self.encoder.fingerprint if self.distance == "features" else ""

    def columns(self, model: Generator) -> Columns:
        """A column for each comparison."""
        places = range(1, self.steps + 1)
        width = len(str(self.steps))
        names = tuple(f"{self.distance}@{k:0{width}d}" for k in places)
        if self.observer == "one_shot":
            names = names[-1:]
        title = f"{self.observer} observer, {self.informer} box".replace("_", "-")
        return Columns(names, None, (QUERIES,), title=title.capitalize())

    def batch(
        self, model: Any, queries: HostQuery, products: tuple[Any, ...]
    ) -> Reading:
        """The distances of some images."""
        sequence = products[0]["images"].astype(np.float32) / 255
        first = blurred(queries.images, self.blur)[:, None]
        seen = blurred(sequence, self.blur)
        before = np.broadcast_to(first, seen.shape)
        if self.observer == "progressive":
            before = np.concatenate([first, seen[:, :-1]], axis=1)
        elif self.observer == "one_shot":
            before, seen = before[:, -1:], seen[:, -1:]
        n, k = seen.shape[:2]
        a, b = (x.reshape(n * k, *x.shape[2:]) for x in (before, seen))
        asked = 1.0 if self.informer == "grey" else float(self.steps)
        return Reading(self._alike(a, b).reshape(n, k), np.full((n, 1), asked))

    def _alike(self, a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, " m"]:
        if self.distance in DISTANCES:
            a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
            return DISTANCES[self.distance](a, b)
        return token_similarity(encode(self.encoder, a), encode(self.encoder, b), "l2")
