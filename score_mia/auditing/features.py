"""Features of images by an encoder: a row task, made once and kept in parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from score_mia import device
from score_mia.check import require
from score_mia.encoders import Encoder, encode
from score_mia.files import Facts, digest, json_digest
from score_mia.hosts import ALONE, Host
from score_mia.rows import Advance, Ids, Words, compute

Pictures = Callable[[Ids], np.ndarray]
"""From ids to images uint8 [n, h, w, c]."""

_BLOCK = 512
"""Images whose features are one file, in whole tiles: the unit of resumption."""


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Features of images by an encoder, a row task.

    Attributes:
      encoder: which.
      pictures: from ids to images uint8 [n, h, w, c].
      of: facts that identify the images.
      words: how messages speak of them.
    """

    encoder: Encoder
    pictures: Pictures
    of: Facts
    words: Words

    @property
    def facts(self) -> Facts:
        """All that decides the numbers."""
        return {"encoder": self.encoder.fingerprint, **self.of}

    @property
    def device(self) -> str:
        """On what they are computed."""
        return device.name()

    def __call__(self, ids: Ids, advance: Advance) -> dict[str, np.ndarray]:
        """{"features": [n, d] float32}."""
        pictures = self.pictures(ids).astype(np.float32) / np.float32(255)
        features = encode(self.encoder, pictures)
        ok = features.ndim == 2 and len(features) == len(ids)
        problem = f"returned features of shape {features.shape} for {len(ids)} images"
        remedy = "let it return one row per image"
        require(ok, f"encoder {self.encoder.name!r}", problem, remedy)
        advance(len(ids))
        return {"features": np.asarray(features, np.float32)}

    def kept(self, ids: Ids, folder: Path, name: str, host: Host = ALONE) -> np.ndarray:
        """The features [n, d], computed or read.

        Args:
          ids: of the images, ascending.
          folder: in which they have a folder under a digest of what decides them.
          name: what that folder's name begins with.
          host: which of several processes this is.
        """
        made = digest(json_digest(dict(self.facts)), np.asarray(ids, np.int64))
        shard = -(-_BLOCK // self.encoder.tile) * self.encoder.tile
        place = folder / f"{name}-{made}"
        return compute(self, ids, place, shard=shard, host=host).array("features")
