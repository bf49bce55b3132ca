"""Pretrained weights: where they are read, and how their file is told from others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

_NORM = ("weight", "bias", "running_mean", "running_var")


def read(path: str | Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Arrays of a PyTorch state dict by name; those that it lacks are left out.

    Raises:
      UserError: no such file, a damaged one, or one that names anything to run.
    """
    from score_mia.interop.unpickle import read_torch  # Flax comes with it: seconds

    return read_torch(path, names)


def names(conv: str, norm: str) -> list[str]:
    """Of a convolution without bias and its batch normalisation."""
    return [f"{conv}.weight", *(f"{norm}.{part}" for part in _NORM)]
