"""What an encoder is: from images to features whose distances mean something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float

from score_mia.check import require

CHANNELS = (1, 3)


@runtime_checkable
class Encoder(Protocol):
    """A frozen dataclass of plain fields that turns images into rows of features.

    Attributes:
      name: what the features are called wherever a distance between them is shown.
      canonical: whether they are those that "FID" has always meant; any other
        Fréchet distance must not go by that name.
      fingerprint: of all that decides the features: fields and weights.
    """

    @property
    def name(self) -> str: ...

    @property
    def canonical(self) -> bool: ...

    @property
    def fingerprint(self) -> str: ...

    def features(
        self, images: Float[np.ndarray, "n h w c"]
    ) -> Float[np.ndarray, "n d"]:
        """Features float32 [n, d] of images in [0, 1]; a row knows its image only."""
        ...


def frechet_name(encoder: Encoder) -> str:
    """What the Fréchet distance of this encoder may be called."""
    return "FID" if encoder.canonical else f"FD[{encoder.name}]"


def in_tiles(
    program: Callable[[Any], jax.Array], images: np.ndarray, tile: int
) -> Float[np.ndarray, "n d"]:
    """A program on batches of always `tile` images: other sizes would change bits."""
    require(
        images.ndim == 4 and len(images) > 0 and images.shape[-1] in CHANNELS,
        f"images of shape {images.shape}",
        "are not [n, h, w, 1] or [n, h, w, 3]",
        "give at least one grey or colour image",
    )
    rows = []
    for start in range(0, len(images), tile):
        part = images[start : start + tile].astype(np.float32)
        short = tile - len(part)
        padded = np.concatenate([part, np.repeat(part[-1:], short, axis=0)])
        rows.append(np.asarray(program(padded))[: len(part)])
    return np.concatenate(rows)
