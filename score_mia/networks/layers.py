"""The layers that the networks share: NHWC, right for any batch size.

Numbers are computed in the type of the input, whatever the weights are stored in; means
and variances are always float32.

Own layers instead of the library's because these hold no random state, keep DDPM's
initialisation (Ho et al. 2020: uniform, variance scaled by the mean of fan-in and
fan-out) and are faster on CPU where it matters (GroupNorm).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from score_mia.arrays import Key
from score_mia.check import require
from score_mia.networks.attention import attend
from score_mia.networks.convolution import Form, convolve

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "swish": jax.nn.silu,
    "elu": jax.nn.elu,
    "relu": jax.nn.relu,
    "lrelu": lambda x: jax.nn.leaky_relu(x, 0.2),
}


class Draws:
    """Random numbers for new parameters: consecutive pieces of one long vector.

    One draw for the whole network compiles in a moment; one for each of its hundreds
    of arrays takes many seconds. Without a vector the numbers are zeros, and `used`
    tells how many a network takes.
    """

    def __init__(self, numbers: Float[Array, " n"] | None = None):
        self.numbers = numbers
        self.used = 0

    def uniform(self, shape: tuple[int, ...]) -> Array:
        """Uniform numbers in [-1, 1)."""
        start, self.used = self.used, self.used + math.prod(shape)
        if self.numbers is None:
            return jnp.zeros(shape, jnp.float32)
        return self.numbers[start : self.used].reshape(shape)

    def scaled(self, shape: tuple[int, ...], scale: float = 1.0) -> Array:
        """Uniform weights of variance scale / mean(fan in, fan out); 0 means 1e-10.

        The fans are the last two axes times the product of the others.
        """
        fan = math.prod(shape[:-2]) * (shape[-2] + shape[-1]) / 2
        return self.uniform(shape) * np.float32((3.0 * (scale or 1e-10) / fan) ** 0.5)


class Dense(nnx.Module):
    """A linear map of the last axis (on images: a 1x1 convolution)."""

    def __init__(
        self,
        inp: int,
        out: int,
        draws: Draws,
        scale: float = 1.0,
        *,
        bias: bool = True,
    ):
        self.kernel = nnx.Param(draws.scaled((inp, out), scale))
        self.bias: Any = nnx.Param(jnp.zeros((out,))) if bias else None

    def __call__(self, x: Float[Array, "... i"]) -> Float[Array, "... o"]:
        """x times the kernel, plus the bias if there is one."""
        kernel = self.kernel[...].astype(x.dtype)
        y = jax.lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
        if self.bias is None:
            return y
        return y + along_last(self.bias[...].astype(x.dtype), y.ndim)


class Conv(nnx.Module):
    """A 3x3 convolution; padding "same" for stride 1, `pad` on each axis for stride 2.

    Attributes:
      kernel: [3, 3, in, out]; bias: [out].
    """

    def __init__(
        self,
        inp: int,
        out: int,
        draws: Draws,
        *,
        form: Form = "direct",
        stride: int = 1,
        pad: tuple[int, int] = (0, 1),
        scale: float = 1.0,
    ):
        self.kernel = nnx.Param(draws.scaled((3, 3, inp, out), scale))
        self.bias = nnx.Param(jnp.zeros((out,)))
        self.form: Form = form
        self.stride, self.pad = stride, pad

    def __call__(self, x: Float[Array, "b h w i"]) -> Float[Array, "b h2 w2 o"]:
        """The convolved images, at half their size for stride 2."""
        pad = (1, 1) if self.stride == 1 else self.pad
        kernel = self.kernel[...].astype(x.dtype)
        y = convolve(x, kernel, self.stride, pad, self.form)
        return y + along_last(self.bias[...].astype(x.dtype), 4)

    def unpadded(
        self, x: Float[Array, "b h w i"], stride: int = 1
    ) -> Float[Array, "b h2 w2 o"]:
        """The same weights without padding and without the bias."""
        kernel = self.kernel[...].astype(x.dtype)
        return convolve(x, kernel, stride, (0, 0), self.form)


class GroupNorm(nnx.Module):
    """Group normalisation (Wu & He 2018).

    Sums go over height and width per channel first and then over the group's
    channels: on CPU that vectorises where the reshaped five-axis form does not.
    """

    def __init__(self, channels: int, groups: int, eps: float = 1e-6):
        ok = groups > 0 and channels % groups == 0
        problem = f"cannot be normalised in {groups} groups"
        remedy = "choose features and multipliers whose products the groups divide"
        require(ok, f"{channels} channels", problem, remedy)
        self.scale = nnx.Param(jnp.ones((channels,)))
        self.bias = nnx.Param(jnp.zeros((channels,)))
        self.groups, self.eps = groups, eps

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """x with mean 0 and variance 1 in each group, scaled and shifted by channel."""
        scale, bias = _float32(self.scale, self.bias)
        wide = x.astype(jnp.float32)
        centred = wide - self._group_mean(wide)
        variance = self._group_mean(centred * centred)
        gain = jax.lax.rsqrt(variance + self.eps) * along_last(scale, 4)
        return (centred * gain + along_last(bias, 4)).astype(x.dtype)

    def _group_mean(self, x: Float[Array, "b h w c"]) -> Float[Array, "b 1 1 c"]:
        batch, _, _, channels = x.shape
        mean = jnp.mean(x, axis=(1, 2)).reshape(batch, self.groups, -1).mean(axis=2)
        each = (batch, self.groups, channels // self.groups)
        return jnp.broadcast_to(mean[:, :, None], each).reshape(batch, 1, 1, channels)


class LayerNorm(nnx.Module):
    """Normalisation of the last axis, scaled and shifted (Ba et al. 2016)."""

    def __init__(self, width: int, eps: float = 1e-5):
        self.scale = nnx.Param(jnp.ones((width,)))
        self.bias = nnx.Param(jnp.zeros((width,)))
        self.eps = eps

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        """x with mean 0 and variance 1, scaled and shifted."""
        scale, bias = _float32(self.scale, self.bias)
        y = normalised(x.astype(jnp.float32), self.eps)
        y = y * along_last(scale, y.ndim) + along_last(bias, y.ndim)
        return y.astype(x.dtype)


def _float32(*values: Any) -> list[Array]:
    return [value[...].astype(jnp.float32) for value in values]


def normalised(x: Float[Array, "... c"], eps: float) -> Float[Array, "... c"]:
    """The last axis with mean 0 and variance 1."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + eps)


class Attention(nnx.Module):
    """Self-attention over the pixels, with a residual connection.

    Attributes:
      heads: how many, each of `width` channels.
      norm: of what is attended to; None for none.
    """

    def __init__(
        self,
        channels: int,
        draws: Draws,
        *,
        norm: GroupNorm | None,
        heads: tuple[int, int],
        scale: float = 0.0,
        rescale: bool = False,
    ):
        self.heads, self.width = heads
        inner = self.heads * self.width
        self.norm: Any = norm
        self.query = Dense(channels, inner, draws, 0.1)
        self.key = Dense(channels, inner, draws, 0.1)
        self.value = Dense(channels, inner, draws, 0.1)
        self.out = Dense(inner, channels, draws, scale)
        self.rescale = rescale

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """x, plus what each pixel gathers from all pixels."""
        batch, height, width, channels = x.shape
        h = x if self.norm is None else self.norm(x)
        h = h.reshape(batch, height * width, channels)
        q, k, v = self.query(h), self.key(h), self.value(h)
        one = self.heads == 1
        h = self.out(self._one_head(q, k, v) if one else attend(q, k, v, self.heads))
        return residual(x, h.reshape(x.shape), self.rescale)

    def _one_head(self, q: Array, k: Array, v: Array) -> Array:
        logits = jnp.einsum("bqc,bkc->bqk", q, k).astype(jnp.float32)
        weights = jax.nn.softmax(logits * self.width**-0.5, axis=-1)
        return jnp.einsum("bqk,bkc->bqc", weights.astype(v.dtype), v)


class Fourier(nnx.Module):
    """sin and cos of 2 pi w log(sigma), w ~ N(0, scale^2) and never trained."""

    def __init__(self, features: int, scale: float, draws: Draws):
        # float32 rounds numbers next to -1 down to it, where the inverse is infinite.
        uniform = jnp.clip(draws.uniform((features,)), -0.99999, 0.99999)
        normal = 2.0**0.5 * jax.lax.erf_inv(uniform)
        self.frequencies = nnx.Param(scale * normal)

    def __call__(self, label: Float[Array, " b"]) -> Float[Array, "b f"]:
        """Sines, then cosines."""
        frequencies = jax.lax.stop_gradient(self.frequencies[...])
        angle = jnp.log(label)[:, None] * frequencies[None, :] * 2.0 * np.pi
        return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def sinusoids(
    label: Float[Array, " b"], features: int, order: str = "sin_cos", shift: int = 1
) -> Float[Array, "b f"]:
    """The transformer's positional embedding (Vaswani et al. 2017).

    Args:
      label: of each row.
      features: how many; an odd last one is 0.
      order: all sines and then all cosines, "sin_cos", or "cos_sin".
      shift: rates fall geometrically from 1, to 1/10,000 at the last one if 1, at the
        one after it if 0.
    """
    half = features // 2
    fall = -np.log(10_000.0) / (half - shift)
    rates = np.exp(fall * np.arange(half)).astype(np.float32)
    angle = label[:, None] * jnp.asarray(rates)[None, :]
    waves = [jnp.sin(angle), jnp.cos(angle)]
    waves = jnp.concatenate(waves if order == "sin_cos" else waves[::-1], axis=-1)
    return jnp.pad(waves, ((0, 0), (0, features % 2)))


class ClassEmbedding(nnx.Module):
    """One learned vector a class."""

    def __init__(self, classes: int, features: int, draws: Draws):
        self.table = nnx.Param(draws.scaled((classes, features), 1.0))

    def __call__(self, condition: Int[Array, " b"]) -> Float[Array, "b f"]:
        """The vectors of these classes."""
        return jnp.take(self.table[...], condition, axis=0)


class Dropout:
    """Inverted dropout for one forward pass: each call draws with a key of its own.

    Masks come from 16 random bits a number, which halves their cost; the rate is
    therefore rounded to a multiple of 1/65536, and the scale follows the rounded one.
    """

    def __init__(self, rate: float, key: Key | None):
        self.drop = round(rate * 65536)
        self.key = key
        self.calls = itertools.count()

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """x without the dropped numbers, the others scaled by 1 / (1 - rate)."""
        if self.key is None or self.drop == 0:
            return x
        key = jax.random.fold_in(self.key, next(self.calls))
        bits = jax.random.bits(key, x.shape, jnp.uint16)
        keep = bits >= jnp.uint16(self.drop)
        return jnp.where(keep, x * (65536 / (65536 - self.drop)), 0.0)


def residual(x: Array, h: Array, rescale: bool) -> Array:
    """x + h, divided by sqrt(2) when variances are to stay equal."""
    return (x + h) * 2**-0.5 if rescale else x + h


def along_last(vector: Float[Array, " c"], ndim: int) -> Array:
    """The vector as an array of `ndim` axes, all of length 1 but the last."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)
