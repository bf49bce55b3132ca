"""Checkpoints of score_sde_pytorch (Song et al. 2021): weights into our networks.

NumPy only: `unpickle.read_torch` reads the file without torch and hands over arrays.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from score_mia.arrays import Params
from score_mia.check import UserError, require
from score_mia.networks import DDPMNet, NCSNpp
from score_mia.networks.layers import Attention, Conv, Dense, Fourier, GroupNorm
from score_mia.networks.network import abstract, parameters
from score_mia.networks.options import Options
from score_mia.networks.resample import Double, Halve
from score_mia.networks.unet import Block, Combine, Head


class _Weight(NamedTuple):
    """Where one of our parameters comes from: variable of a module <- torch's name."""

    variable: Any
    name: str


def params_from_state_dict(
    spec: DDPMNet | NCSNpp, state: Mapping[str, np.ndarray], shape: Iterable[int]
) -> Params:
    """Our parameters from the state dict of score_sde_pytorch's DDPM or NCSNpp.

    Args:
      spec: the network that the checkpoint's configuration describes.
      state: the model's state dict as arrays; a "module." prefix (DataParallel) and
        the buffer "sigmas" may be there.
      shape: (height, width, channels) of the images.

    Returns:
      Nested dict of float32 arrays, as `spec.build(shape).init` makes.

    Raises:
      UserError: an entry is missing, left over or of another shape, or the table of
        noise levels differs: the specification is not that of the checkpoint.
    """
    problem = "are unknown to score_sde_pytorch"
    require(spec.classes == 0, f"classes={spec.classes}", problem, "set classes to 0")
    options = spec.options() if isinstance(spec, DDPMNet) else spec
    state = {k.removeprefix("module."): np.asarray(v) for k, v in state.items()}
    _check_sigmas(options, state.pop("sigmas", None))
    height, width, channels = shape
    module = abstract(spec, (height, width, channels))
    for weight in _weights(module, options):
        weight.variable.set_value(_taken(state, weight))
    if not options.conditional:
        # Their blocks keep the layers that an unconditional network never calls.
        state = {k: v for k, v in state.items() if ".Dense_0." not in k}
    problem = f"has no place in {type(spec).__name__} ({len(state)} such)"
    remedy = "compare the specification with the checkpoint's configuration"
    require(not state, f"state dict entry {next(iter(state), '')!r}", problem, remedy)
    return parameters(module)


def averaged(
    state: Mapping[str, np.ndarray], averages: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The state dict with the moving averages in place of the parameters.

    Args:
      state: the model's state dict, in the file's order.
      averages: "shadow_params" of their ExponentialMovingAverage: one array for each
        parameter that is trained, in the same order. Buffers (the table of noise
        levels) and Fourier frequencies are not.

    Raises:
      UserError: the averages are not as many, or have other shapes.
    """
    trained = [k for k in state if not re.search(r"(^|\.)sigmas$|modules\.\d+\.W$", k)]
    ok = len(trained) == len(averages)
    problem = f"do not fit {len(trained)} trained parameters"
    remedy = "give a checkpoint of score_sde_pytorch"
    require(ok, f"{len(averages)} moving averages", problem, remedy)
    for name, array in zip(trained, averages, strict=True):
        require(
            np.shape(array) == np.shape(state[name]),
            f"moving average of {name!r}",
            f"has shape {np.shape(array)} where {np.shape(state[name])} is expected",
            "give a checkpoint of score_sde_pytorch",
        )
    return {**state, **dict(zip(trained, averages, strict=True))}


def _check_sigmas(options: Options, sigmas: np.ndarray | None) -> None:
    if sigmas is None or not options.scale_by_sigma or options.embedding == "fourier":
        return
    ends = (options.sigma_max, options.sigma_min)
    require(
        sigmas.shape == (options.sigma_steps,)
        and np.allclose(sigmas[[0, -1]], ends, rtol=1e-4),
        f"sigmas of the checkpoint ({len(sigmas)} from {sigmas[0]} to {sigmas[-1]})",
        f"are not the specification's ({options.sigma_steps} from {ends[0]} to "
        f"{ends[1]})",
        "set sigma_steps, sigma_max and sigma_min",
    )


def _taken(state: dict[str, np.ndarray], weight: _Weight) -> np.ndarray:
    if weight.name not in state:
        raise UserError(
            f"state dict has no entry {weight.name!r}; compare the specification with "
            "the checkpoint's configuration"
        )
    array = _our_order(state.pop(weight.name), weight.name)
    wanted = weight.variable.shape
    if len(wanted) == 2 and array.shape[:-2] == (1, 1):
        array = array[0, 0]  # a 1x1 convolution is a matrix
    problem = f"has shape {array.shape} (in our order) where {wanted} is expected"
    remedy = "compare the specification with the checkpoint's configuration"
    require(array.shape == wanted, f"state dict entry {weight.name!r}", problem, remedy)
    return np.asarray(array, np.float32)


def _our_order(array: np.ndarray, name: str) -> np.ndarray:
    """Convolutions [out, in, h, w] to [h, w, in, out], matrices to [in, out]."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim == 2 and name.endswith(".weight"):
        return array.T
    return array


def _weights(module: Any, o: Options) -> Iterator[_Weight]:
    """Every parameter of the module with its name."""
    for name, layer in _numbered(module):
        if isinstance(layer, Block):
            yield from _of_block(layer, name, o)
        elif isinstance(layer, Attention):
            yield from _of_attention(layer, name)
        elif isinstance(layer, Halve | Double):
            kind = "Conv2d_0" if o.fir else "Conv_0"
            yield from _of_leaf(layer.conv, f"{name}.{kind}")
        elif isinstance(layer, Combine):
            yield from _of_leaf(layer.dense, f"{name}.Conv_0")
        else:
            yield from _of_leaf(layer, name)


def numbered(
    spec: DDPMNet | NCSNpp, shape: tuple[int, int, int]
) -> Iterator[tuple[str, Any]]:
    """The layers of the specification with their names: theirs count them by use."""
    return _numbered(abstract(spec, shape))


def _numbered(module: Any) -> Iterator[tuple[str, Any]]:
    layers: list[Any] = []
    for layer in module.in_order():
        layers += (layer.norm, layer.conv) if isinstance(layer, Head) else (layer,)
    for index, layer in enumerate(layers):
        yield f"all_modules.{index}", layer


def _of_block(block: Block, name: str, o: Options) -> Iterator[_Weight]:
    yield from _of_leaf(block.norm_0, f"{name}.GroupNorm_0")
    yield from _of_leaf(block.conv_0, f"{name}.Conv_0")
    yield from _of_leaf(block.dense, f"{name}.Dense_0")
    yield from _of_leaf(block.norm_1, f"{name}.GroupNorm_1")
    yield from _of_leaf(block.conv_1, f"{name}.Conv_1")
    if o.block == "biggan":
        yield from _of_leaf(block.shortcut, f"{name}.Conv_2")
    else:
        yield from _of_mixing(block.shortcut, f"{name}.NIN_0")


def _of_attention(layer: Attention, name: str) -> Iterator[_Weight]:
    yield from _of_leaf(layer.norm, f"{name}.GroupNorm_0")
    for i, part in enumerate((layer.query, layer.key, layer.value, layer.out)):
        yield from _of_mixing(part, f"{name}.NIN_{i}")


def _of_mixing(layer: Dense | None, name: str) -> Iterator[_Weight]:
    """Their matrix over the channels, stored as [in, out] like ours."""
    if layer is not None:
        yield _Weight(layer.kernel, f"{name}.W")
        yield _Weight(layer.bias, f"{name}.b")


def _of_leaf(layer: Any, name: str) -> Iterator[_Weight]:
    """A layer of torch's own kinds; nothing for a layer that is not there."""
    if isinstance(layer, Fourier):
        yield _Weight(layer.frequencies, f"{name}.W")
    elif isinstance(layer, GroupNorm):
        yield _Weight(layer.scale, f"{name}.weight")
        yield _Weight(layer.bias, f"{name}.bias")
    elif isinstance(layer, Dense | Conv):
        yield _Weight(layer.kernel, f"{name}.weight")
        yield _Weight(layer.bias, f"{name}.bias")
