"""The reconstruction attack (Pang & Wang 2023, 2312.08207): a model draws what it saw.

Who trained on an image with a caption draws, for that caption, something like the
image. m images are drawn for each candidate, compared with it token by token in the
features of a frozen encoder, and averaged over the m. What becomes of the similarities
is the rule's: their mean ("mean" or "max"), a ratio of two Gaussians ("gaussians"), or
a classifier ("mlp" is theirs, "logistic" the honest one where little is known), fitted
on a shadow model that was fine-tuned like the target.

Which caption is asked with is the signal's `prompt` (docs/models.md): the image's own
(their Attacks I and III), or one made of the image (II and IV). Models that are told
nothing are asked to vary the image instead.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from score_mia.attacks.likeness import SIMILARITIES, token_similarity
from score_mia.attacks.products import Drawn, Varied
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
from score_mia.encoders.protocol import Output, tokens
from score_mia.target import Generator


@dataclasses.dataclass(frozen=True)
class Reconstruct:
    """How like an image the model's images for its prompt are, token by token.

    Attributes:
      m: images that are compared, averaged over.
      encoder: whose features are compared; see `quality.encoder`. Theirs is
        DeiT-base-distilled-384: `dict(name="vit", folder=...)`.
      output: "tokens", a column for each place or patch, or "pooled", one in all.
      similarity: "cosine", "l1", "l2" or "hamming".
      drawn: how many are drawn and kept, so that attacks of different m share them;
        None for m.
      vary: for models without prompts, how the image itself is varied (`strength`,
        `steps`); None to draw for a prompt.
    """

    m: int = 3
    encoder: AnEncoder = dataclasses.field(default_factory=usual_encoder)
    output: Output = "tokens"
    similarity: str = "cosine"
    drawn: int | None = None
    vary: Varied | None = None

    access: ClassVar[Access] = "samples"

    def __post_init__(self) -> None:
        at_least("m", self.m, 1)
        one_of("similarity", self.similarity, SIMILARITIES)
        one_of("output", self.output, ("tokens", "pooled"))
        if self.drawn is not None:
            at_least("drawn", self.drawn, self.m)
        free = self.vary is None or self.vary.count == 1
        require(free, "vary.count", "is not how often it is asked", "set m and drawn")

    @property
    def needs(self) -> tuple[Product, ...]:
        """The model's images."""
        count = self.drawn or self.m
        if self.vary is None:
            return (Drawn(count),)
        return (dataclasses.replace(self.vary, count=count),)

    def fingerprint(self) -> str:
        """Of the encoder's weights."""
        return self.encoder.fingerprint

    def columns(self, model: Generator) -> Columns:
        """A column for each token."""
        names = ("pooled",)
        if self.output == "tokens":
            count = tokens(self.encoder, model.shape)
            width = len(str(count - 1))
            names = tuple(f"token-{k:0{width}d}" for k in range(count))
        return Columns(names, None, (QUERIES,), title=f"Reconstruction, m = {self.m}")

    def batch(
        self, model: Any, queries: HostQuery, products: tuple[Any, ...]
    ) -> Reading:
        """The similarities of some images, averaged over what was drawn for each."""
        drawn = products[0]["images"][:, : self.m].astype(np.float32) / 255
        own = self._features(queries.images)[:, None]
        theirs = self._features(drawn.reshape(-1, *drawn.shape[2:]))
        theirs = theirs.reshape(len(own), self.m, *theirs.shape[1:])
        alike = token_similarity(own, theirs, self.similarity).mean(axis=1)
        asked = np.full((len(own), 1), float(self.m))
        return Reading(alike.reshape(len(own), -1), asked)

    def _features(self, images: np.ndarray) -> np.ndarray:
        return encode(self.encoder, images, self.output)
