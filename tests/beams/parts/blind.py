"""What can be told from the images alone: an attack on no model."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.attacks import Columns, Reading


@dataclasses.dataclass(frozen=True)
class Blind:
    """Mean and spread of an image, and of its differences along either axis."""

    access: ClassVar[str] = "none"
    needs: ClassVar[tuple] = ()

    def columns(self, model):
        kinds = ("image", "rows", "columns")
        names = tuple(f"{what}_{kind}" for kind in kinds for what in ("mean", "std"))
        return Columns(names, evaluations=0.0, title="Blind")

    def batch(self, model, queries, products):
        images = queries.images.astype(np.float64)
        seen = (images, *(np.abs(np.diff(images, axis=axis)) for axis in (1, 2)))
        features = [f(a, axis=(1, 2, 3)) for a in seen for f in (np.mean, np.std)]
        return Reading(np.stack(features, axis=1))
