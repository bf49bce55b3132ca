"""Halving and doubling images: nearest/mean, or smoothed by a FIR filter.

The filtered forms are the up-filter-down scheme of StyleGAN2 (Karras et al. 2020),
which NCSN++ uses (Song et al. 2021, App. H.1).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from score_mia.networks.convolution import Form
from score_mia.networks.layers import Conv, Draws, along_last

Kernel = tuple[float, ...]
"""Taps of a separable FIR filter, normalised where it is used; () for none."""


def double(x: Float[Array, "b h w c"], fir: Kernel) -> Float[Array, "b h2 w2 c"]:
    """Twice the height and width: each pixel repeated, or zeros inserted + filtered."""
    if fir:
        extra = len(fir) - 2
        return filtered(x, fir, gain=2.0, up=2, pad=((extra + 1) // 2 + 1, extra // 2))
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(
        x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels)
    )
    return x.reshape(batch, 2 * height, 2 * width, channels)


def halve(x: Float[Array, "b h w c"], fir: Kernel) -> Float[Array, "b h2 w2 c"]:
    """Half the height and width: means of 2x2 pixels, or filtered and thinned."""
    if fir:
        extra = len(fir) - 2
        return filtered(x, fir, down=2, pad=((extra + 1) // 2, extra // 2))
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.mean(x, axis=(2, 4))


def filtered(
    x: Float[Array, "b h w c"],
    fir: Kernel,
    *,
    gain: float = 1.0,
    up: int = 1,
    down: int = 1,
    pad: tuple[int, int] = (0, 0),
) -> Float[Array, "b h2 w2 c"]:
    """Insert up - 1 zeros after each pixel, pad, convolve, keep each down-th pixel.

    Along both image axes alike; the filter sums to `gain` along each.
    """
    taps = np.asarray(fir, np.float64)
    taps = (gain * taps / taps.sum()).astype(np.float32)
    for axis in (1, 2):
        x = _filtered_axis(x, taps, axis, up, down, pad)
    return x


def _filtered_axis(
    x: Array, taps: np.ndarray, axis: int, up: int, down: int, pad: tuple[int, int]
) -> Array:
    edges = [(0, 0, 0)] * x.ndim
    edges[axis] = (pad[0], pad[1] + up - 1, up - 1)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
    span = x.shape[axis] - len(taps) + 1
    # A convolution turns its kernel round, hence the reversed taps.
    terms = [
        float(tap)
        * jax.lax.slice_in_dim(x, start, start + span, stride=down, axis=axis)
        for start, tap in enumerate(taps[::-1])
    ]
    return sum(terms[1:], start=terms[0])


class Halve(nnx.Module):
    """Half the resolution, followed by or fused with a 3x3 convolution if `conv`."""

    def __init__(
        self,
        inp: int,
        out: int,
        draws: Draws,
        *,
        conv: bool,
        fir: Kernel,
        form: Form,
        pad: tuple[int, int] = (0, 1),
    ):
        how = {"stride": 2, "pad": pad, "form": form}
        self.conv = Conv(inp, out, draws, **how) if conv else None
        self.fir = fir

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """The features at half their height and width."""
        if self.conv is None:
            return halve(x, self.fir)
        if not self.fir:
            return self.conv(x)
        # The filter widens the image by the 2 pixels that the unpadded 3x3 eats.
        extra = len(self.fir)
        x = filtered(x, self.fir, pad=((extra + 1) // 2, extra // 2))
        bias = along_last(self.conv.bias[...].astype(x.dtype), 4)
        return self.conv.unpadded(x, stride=2) + bias


class Double(nnx.Module):
    """Twice the resolution, followed by or fused with a 3x3 convolution if `conv`."""

    def __init__(
        self, inp: int, out: int, draws: Draws, *, conv: bool, fir: Kernel, form: Form
    ):
        self.conv = Conv(inp, out, draws, form=form) if conv else None
        self.fir = fir

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """The features at twice their height and width."""
        if self.conv is None:
            return double(x, self.fir)
        if not self.fir:
            return self.conv(double(x, ()))
        # Zeros between the pixels, full 3x3 convolution, then the filter: nothing is
        # cut at the border until the end.
        x = jax.lax.pad(
            x, jnp.zeros((), x.dtype), ((0, 0, 0), (2, 2, 1), (2, 2, 1), (0, 0, 0))
        )
        x = self.conv.unpadded(x)
        extra = len(self.fir) - 4
        x = filtered(x, self.fir, gain=2.0, pad=((extra + 1) // 2 + 1, extra // 2 + 1))
        return x + along_last(self.conv.bias[...].astype(x.dtype), 4)
