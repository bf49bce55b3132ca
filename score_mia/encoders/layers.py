"""What the encoders are made of: pure functions on batches [b, h, w, c], float32.

Pretrained networks arrive as state dicts of PyTorch. A convolution and the batch
normalisation behind it are one affine map, and are folded into one at loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.check import UserError

Batch = Float[Array, "b _ _ _"]
Pad = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after, along h and along w."""


class Affine(NamedTuple):
    """A convolution: kernel [kh, kw, in, out] and bias [out]."""

    kernel: Any
    bias: Any


def conv(x: Batch, p: Affine, stride: int = 1, pad: Pad | None = None) -> Batch:
    """Cross-correlation plus bias; `pad` is half the kernel unless given."""
    kh, kw = p.kernel.shape[:2]
    pad = ((kh // 2, kh // 2), (kw // 2, kw // 2)) if pad is None else pad
    out = jax.lax.conv_general_dilated(
        x, p.kernel, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return out + p.bias[None, None, None]


def depthwise(x: Batch, p: Affine, stride: int, pad: Pad) -> Batch:
    """One kernel [kh, kw, 1, c] per channel, as a sum over its shifts.

    XLA's grouped convolution is many times slower on CPUs (benchmarks/).
    """
    kh, kw = p.kernel.shape[:2]
    x = jnp.pad(x, ((0, 0), *pad, (0, 0)))
    height = (x.shape[1] - kh) // stride + 1
    width = (x.shape[2] - kw) // stride + 1
    out = p.bias[None, None, None]
    for i in range(kh):
        for j in range(kw):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            columns = slice(j, j + stride * (width - 1) + 1, stride)
            out = out + x[:, rows, columns] * p.kernel[i, j, 0][None, None, None]
    return out


def same(x: Batch, size: int, stride: int) -> Pad:
    """TensorFlow's "SAME" zeros: ceil(n / stride) outputs, the odd zero at the end."""

    def along(n: int) -> tuple[int, int]:
        total = max((-(-n // stride) - 1) * stride + size - n, 0)
        return total // 2, total - total // 2

    return along(x.shape[1]), along(x.shape[2])


def max_pool(x: Batch, size: int, stride: int, pad: int = 0) -> Batch:
    """The largest value of each window."""
    around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    window, step = (1, size, size, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, step, around)


def mean_pool(x: Batch, size: int) -> Batch:
    """The mean of each window of stride 1, borders counting only what is there."""
    r = size // 2
    around = ((0, 0), (r, r), (r, r), (0, 0))
    window, step = (1, size, size, 1), (1, 1, 1, 1)

    def total(a: Array) -> Array:
        return jax.lax.reduce_window(a, 0.0, jax.lax.add, window, step, around)

    return total(x) / total(jnp.ones((1, *x.shape[1:3], 1), x.dtype))


def resize(x: Batch, size: int, *, half_pixel: bool = True) -> Batch:
    """Bilinear, to size x size, without smoothing before it shrinks.

    Args:
      x: images.
      size: side of the result.
      half_pixel: pixel i stands for the point (i + 1/2) / n, as in PyTorch; else for
        i / n, as TensorFlow 1 had it.
    """
    rows, columns = (_bilinear(n, size, half_pixel) for n in x.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, x, columns, precision="highest")


def _bilinear(n: int, size: int, half_pixel: bool) -> np.ndarray:
    """The matrix [size, n] of linear interpolation."""
    shift = 0.5 if half_pixel else 0.0
    at = np.clip((np.arange(size) + shift) * (n / size) - shift, 0, n - 1)
    low = np.floor(at).astype(int)
    matrix = np.zeros((size, n), np.float32)
    np.add.at(matrix, (np.arange(size), low), 1 - (at - low))
    np.add.at(matrix, (np.arange(size), np.minimum(low + 1, n - 1)), at - low)
    return matrix


def pooled(x: Batch, rows: int, columns: int) -> Batch:
    """Means over blocks, rows x columns of them where there are so many pixels."""
    h, w = x.shape[1:3]
    down, across = _blocks(h, min(rows, h)), _blocks(w, min(columns, w))
    return jnp.einsum("ih,bhwc,jw->bijc", down, x, across, precision="highest")


def _blocks(n: int, count: int) -> np.ndarray:
    """The matrix [count, n] of means; neighbouring blocks share a pixel they split."""
    edges = np.arange(count + 1) * n / count
    pixel = np.arange(n)
    covers = (pixel >= np.floor(edges[:-1, None])) & (pixel < np.ceil(edges[1:, None]))
    return (covers / covers.sum(axis=1, keepdims=True)).astype(np.float32)


def rgb(x: Batch) -> Batch:
    """Three channels of one or three."""
    return jnp.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x


def folded(
    state: Mapping[str, np.ndarray], name: str, norm: str, epsilon: float
) -> Affine:
    """A convolution without bias and its batch normalisation, from a state dict.

    Args:
      state: PyTorch's names and arrays.
      name: of the convolution, whose kernel is [out, in, kh, kw].
      norm: of the normalisation.
      epsilon: added to its variance.

    Raises:
      UserError: the state dict has no such entry.
    """
    kernel = entry(state, f"{name}.weight").transpose(2, 3, 1, 0)
    scale, shift, mean, variance = (
        entry(state, f"{norm}.{part}")
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(variance + epsilon)
    return affine(kernel * gain, shift - mean * gain)


def affine(kernel: np.ndarray, bias: np.ndarray) -> Affine:
    """Both as float32."""
    return Affine(np.asarray(kernel, np.float32), np.asarray(bias, np.float32))


def entry(state: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """An array of a state dict in float64; `UserError` if it is not there."""
    if not isinstance(state.get(name), np.ndarray):
        remedy = "give the state dict of the network that the encoder names"
        raise UserError(f"encoder weights have no array {name!r}; {remedy}")
    return state[name].astype(np.float64)
