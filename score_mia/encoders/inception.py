"""Inception-v3 as the Fréchet inception distance has always used it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.check import existing, one_of, require
from score_mia.encoders.layers import (
    Affine,
    Batch,
    conv,
    entry,
    folded,
    max_pool,
    mean_pool,
    resize,
    rgb,
)
from score_mia.encoders.protocol import Features, at_places
from score_mia.encoders.weights import names, read
from score_mia.files import sha256

SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of pt_inception-2015-12-05-6726825d.pth, the canonical weights for PyTorch."""

Weights = dict[str, Affine]
Unit = Callable[..., Batch]
"""`unit(x, name, stride=1, valid=False)`: convolution, normalisation, ReLU."""

_SIZE = 299
_EPSILON = 1e-3
_CLASSES = 1008  # of the network of December 2015; later ones, which differ, have 1000
_VALID = ((0, 0), (0, 0))


def _steps(stem: str, count: int) -> list[str]:
    return [f"{stem}_{i + 1}" for i in range(count)]


@dataclasses.dataclass(frozen=True)
class Inception:
    """The 2,048 pooled features of the Inception-v3 of 2015-12-05, for FID proper.

    Szegedy et al. 2015 (1512.00567), with the graph's own departures: averages within
    the mixed layers leave padding out, and the last mixed layer takes the maximum.

    Attributes:
      weights: path of `pt_inception-2015-12-05-6726825d.pth` (or torch-fidelity's
        `weights-inception-2015-12-05-6726825d.pth`, the same bytes), which no package
        carries. With any other file the distance is not called FID.
      resizing: "tensorflow" for the first implementation's (Heusel et al. 2017; pixel
        i at i / n, then (x - 128) / 128 of 8-bit values) or "pytorch" for pytorch-fid's
        (pixel i at (i + 1/2) / n, then 2 x - 1). Their values are not comparable.
    """

    weights: str
    resizing: str = "tensorflow"
    tile: ClassVar[int] = 8

    def __post_init__(self) -> None:
        _ = self.path
        one_of("resizing", self.resizing, ("tensorflow", "pytorch"))

    @property
    def path(self) -> Path:
        """The weights' file; `UserError` where there is none."""
        return existing(self.weights, "Inception weights")

    @property
    def name(self) -> str:
        """ "inception", with a digest of the file if it is not the canonical one."""
        if self.canonical:
            return "inception"
        return f"inception with weights {sha256(self.path)[:8]}"

    @property
    def canonical(self) -> bool:
        """Whether the file is the one that FID has always been computed with."""
        return sha256(self.path) == SHA256

    @cached_property
    def fingerprint(self) -> str:
        """Of the fields and of the weights' file."""
        return f"inception {self.resizing} {sha256(self.path)}"

    def params(self, channels: int) -> Weights:
        """From the user's file, for images of any number of channels."""
        return weights(read(self.path, _entries()))

    def apply(self, params: Weights, images: Batch) -> Features:
        """The last map's mean over places, and its places as tokens."""
        half_pixel = self.resizing == "pytorch"
        return at_places(last_map(params, prepared(images, half_pixel)))


def prepared(x: Batch, half_pixel: bool) -> Batch:
    """Images in [0, 1] as the network is given them, 299 x 299."""
    x = resize(rgb(x), _SIZE, half_pixel=half_pixel)
    return 2 * x - 1 if half_pixel else (255 * x - 128) / 128


def weights(state: Mapping[str, np.ndarray]) -> Weights:
    """From a state dict with the names of torchvision's and pytorch-fid's networks."""
    classes = entry(state, "fc.weight").shape[0]
    problem = f"tell {classes} classes apart, those of FID {_CLASSES}"
    remedy = "give pt_inception-2015-12-05-6726825d.pth"
    require(classes == _CLASSES, "Inception weights", problem, remedy)
    return {n: folded(state, f"{n}.conv", f"{n}.bn", _EPSILON) for n in _layers()}


_STEM = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")
_MIXED = {
    ("5b", "5c", "5d"): ("1x1", "5x5_1", "5x5_2", *_steps("3x3dbl", 3), "_pool"),
    ("6a",): ("3x3", *_steps("3x3dbl", 3)),
    ("6b", "6c", "6d", "6e"): ("1x1", *_steps("7x7", 3), *_steps("7x7dbl", 5), "_pool"),
    ("7a",): (*_steps("3x3", 2), *_steps("7x7x3", 4)),
    ("7b", "7c"): (
        *("1x1", "3x3_1", "3x3_2a", "3x3_2b", "_pool"),
        *("3x3dbl_1", "3x3dbl_2", "3x3dbl_3a", "3x3dbl_3b"),
    ),
}


def _layers() -> list[str]:
    """The names of all convolutions."""
    mixed = [
        f"Mixed_{m}.branch{branch}"
        for group, branches in _MIXED.items()
        for m in group
        for branch in branches
    ]
    return [f"Conv2d_{part}" for part in _STEM] + mixed


def _entries() -> list[str]:
    layers = (entry for n in _layers() for entry in names(f"{n}.conv", f"{n}.bn"))
    return ["fc.weight", *layers]


def last_map(p: Weights, x: Batch) -> Batch:
    """The last map [b, 8, 8, 2048] of prepared images."""

    def unit(x: Batch, name: str, stride: int = 1, valid: bool = False) -> Batch:
        pad = _VALID if valid or stride > 1 else None
        return jax.nn.relu(conv(x, p[name], stride, pad))

    x = unit(x, "Conv2d_1a_3x3", 2)
    x = unit(x, "Conv2d_2a_3x3", valid=True)
    x = max_pool(unit(x, "Conv2d_2b_3x3"), 3, 2)
    x = unit(x, "Conv2d_3b_1x1")
    x = max_pool(unit(x, "Conv2d_4a_3x3", valid=True), 3, 2)
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = _mixed(unit, x, name, {"5x5": 2, "3x3dbl": 3})
    x = _halve_6(unit, x, "Mixed_6a")
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = _mixed(unit, x, name, {"7x7": 3, "7x7dbl": 5})
    x = _halve_7(unit, x, "Mixed_7a")
    x = _mixed_7(unit, x, "Mixed_7b", mean_pool(x, 3))
    return _mixed_7(unit, x, "Mixed_7c", max_pool(x, 3, 1, 1))


def _chain(unit: Unit, x: Batch, *names: str, stride: int = 1) -> Batch:
    """Layer after layer; the stride is the last one's."""
    for name in names[:-1]:
        x = unit(x, name)
    return unit(x, names[-1], stride)


def _mixed(unit: Unit, x: Batch, m: str, chains: Mapping[str, int]) -> Batch:
    return _beside(
        unit(x, f"{m}.branch1x1"),
        *(_chain(unit, x, *_steps(f"{m}.branch{c}", n)) for c, n in chains.items()),
        unit(mean_pool(x, 3), f"{m}.branch_pool"),
    )


def _halve_6(unit: Unit, x: Batch, m: str) -> Batch:
    return _beside(
        unit(x, f"{m}.branch3x3", 2),
        _chain(unit, x, *_steps(f"{m}.branch3x3dbl", 3), stride=2),
        max_pool(x, 3, 2),
    )


def _halve_7(unit: Unit, x: Batch, m: str) -> Batch:
    return _beside(
        _chain(unit, x, *_steps(f"{m}.branch3x3", 2), stride=2),
        _chain(unit, x, *_steps(f"{m}.branch7x7x3", 4), stride=2),
        max_pool(x, 3, 2),
    )


def _mixed_7(unit: Unit, x: Batch, m: str, pool: Batch) -> Batch:
    narrow = unit(x, f"{m}.branch3x3_1")
    double = _chain(unit, x, *_steps(f"{m}.branch3x3dbl", 2))
    return _beside(
        unit(x, f"{m}.branch1x1"),
        *(unit(narrow, f"{m}.branch3x3_{end}") for end in ("2a", "2b")),
        *(unit(double, f"{m}.branch3x3dbl_{end}") for end in ("3a", "3b")),
        unit(pool, f"{m}.branch_pool"),
    )


def _beside(*parts: Batch) -> Batch:
    return jnp.concatenate(parts, axis=-1)
