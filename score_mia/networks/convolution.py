"""The 3x3 convolution in several equal forms."""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Form = Literal["direct", "patches"]
FORMS: tuple[str, ...] = get_args(Form)


def convolve(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    stride: int,
    pad: tuple[int, int],
    form: Form,
) -> Float[Array, "b h2 w2 o"]:
    """Cross-correlation with the kernel after zero padding both image axes by `pad`."""
    if form == "patches":
        return _patches(x, kernel, stride, pad)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        (pad, pad),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _patches(x, kernel, stride, pad):
    rows, cols, _, out = kernel.shape
    x = jnp.pad(x, ((0, 0), pad, pad, (0, 0)))
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - cols) // stride + 1
    down = [slice(i, i + stride * (height - 1) + 1, stride) for i in range(rows)]
    across = [slice(j, j + stride * (width - 1) + 1, stride) for j in range(cols)]
    taps = [x[:, i, j] for i in down for j in across]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, out)
