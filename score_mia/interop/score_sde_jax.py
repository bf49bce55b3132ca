"""Checkpoints of score_sde, the JAX original (Song et al. 2021): to our networks.

Flax numbers a module's layers class by class in the order of their use; torch's port
numbers all layers together. Translated to the names of the port, both go one way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from score_mia.arrays import Params
from score_mia.check import UserError, require
from score_mia.interop.score_sde_torch import numbered, params_from_state_dict
from score_mia.networks import DDPMNet, NCSNpp
from score_mia.networks.layers import Attention, Conv, Dense, Fourier, GroupNorm
from score_mia.networks.resample import Double, Halve
from score_mia.networks.unet import Block, Combine


def params_from_flax(
    spec: DDPMNet | NCSNpp, tree: Mapping[str, Any], shape: Iterable[int]
) -> Params:
    """Our parameters from those of score_sde's DDPM or NCSNpp.

    Args:
      spec: the network that the checkpoint's configuration describes.
      tree: the module's "params": {"Conv_0": {"kernel", "bias"}, ...}.
      shape: (height, width, channels) of the images.

    Returns:
      Nested dict of float32 arrays, as `spec.build(shape).init` makes.

    Raises:
      UserError: a layer is missing, left over or of another shape.
    """
    height, width, channels = shape
    hwc = (height, width, channels)
    waiting = _by_class(tree)
    state: dict[str, np.ndarray] = {}
    remedy = "compare the specification with the checkpoint's configuration"
    for name, layer in numbered(spec, hwc):
        kind = _class_of(layer, spec)
        if not kind:
            continue
        what, problem = f"layer {kind} of the specification", "has no more parameters"
        require(bool(waiting.get(kind)), what, f"{problem} in the checkpoint", remedy)
        for path, array in _leaves(waiting[kind].pop(0)):
            theirs = re.sub(r"\b(kernel|scale)$", "weight", path)
            state[f"{name}.{theirs}"] = _their_order(array, path)
    left = [kind for kind, layers in waiting.items() if layers]
    problem = f"have no place in {type(spec).__name__}"
    require(not left, f"its layers {', '.join(left)}", problem, remedy)
    return params_from_state_dict(spec, state, hwc)


def _by_class(tree: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{"Conv": [first, second, ...], ...}; layers without parameters have no number."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for name, layer in tree.items():
        match = re.fullmatch(r"(\w+)_(\d+)", str(name))
        ok = match is not None and isinstance(layer, Mapping)
        remedy = "give a checkpoint of its DDPM or NCSNpp"
        require(ok, f"its entry {name!r}", "is no layer of score_sde", remedy)
        assert match is not None
        found.setdefault(match[1], []).append((int(match[2]), layer))
    return {
        kind: [layer for _, layer in sorted(layers, key=lambda pair: pair[0])]
        for kind, layers in found.items()
    }


def _class_of(layer: Any, spec: DDPMNet | NCSNpp) -> str:
    """The name of the layer's class there; "" for a layer without parameters."""
    if isinstance(layer, Halve | Double) and layer.conv is None:
        return ""
    plus = isinstance(spec, NCSNpp)
    biggan = plus and spec.block == "biggan"
    names = {
        Block: f"ResnetBlock{'BigGAN' if biggan else 'DDPM'}{'pp' if plus else ''}",
        Attention: "AttnBlockpp" if plus else "AttnBlock",
        Fourier: "GaussianFourierProjection",
        Halve: "Downsample",
        Double: "Upsample",
        Combine: "Combine",
        GroupNorm: "GroupNorm",
        Dense: "Dense",
        Conv: "Conv",
    }
    return names[type(layer)]


def _leaves(layer: Mapping[str, Any]) -> Iterable[tuple[str, np.ndarray]]:
    """("Conv_0.kernel", array) for each parameter of a layer."""
    for name, value in layer.items():
        if isinstance(value, Mapping):
            for inner, array in value.items():
                yield f"{name}.{inner}", _array(array, f"{name}.{inner}")
        else:
            yield str(name), _array(value, str(name))


def _array(value: Any, name: str) -> np.ndarray:
    if not isinstance(value, np.ndarray):
        problem = f"its parameter {name!r} is a {type(value).__name__} and no array"
        raise UserError(f"{problem}; give a checkpoint of score_sde's DDPM or NCSNpp")
    return value


def _their_order(array: np.ndarray, path: str) -> np.ndarray:
    """As torch stores it: [out, in, h, w] and [out, in]; NIN's matrix stays."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T if path.endswith("kernel") else array
