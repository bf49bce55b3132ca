"""A codec with parameters and another shape: what a learned encoder is, but exact."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Patches:
    """Squares of 2x2 pixels, taken to [-1, 1], each turned by one rotation.

    Attributes:
      rotation: [4 c, 4 c], orthogonal.
      log_scale: see `score_mia.target.Codec`: log 2, or None to say that there is no
        density on pixels.
    """

    rotation: jax.Array
    log_scale: float | None = dataclasses.field(default=None, metadata={"static": True})

    def shape(self, image_shape):
        h, w, c = image_shape
        return (h // 2, w // 2, 4 * c)

    def encode(self, image, key=None):
        h, w, c = image.shape
        x = image.reshape(h // 2, 2, w // 2, 2, c).transpose(0, 2, 1, 3, 4)
        x = (2 * x.reshape(h // 2, w // 2, 4 * c) - 1) @ self.rotation
        return x if key is None else x + 1e-3 * jax.random.normal(key, x.shape)

    def decode(self, x):
        h, w, d = x.shape
        x = (x @ self.rotation.T + 1) / 2
        x = x.reshape(h, w, 2, 2, d // 4).transpose(0, 2, 1, 3, 4)
        return x.reshape(2 * h, 2 * w, d // 4)


def patches(seed: int = 0, channels: int = 1, log_scale: float | None = None):
    """One with random parameters."""
    normal = np.random.default_rng(seed).normal(size=(4 * channels, 4 * channels))
    rotation, _ = np.linalg.qr(normal)
    return Patches(jnp.asarray(rotation, jnp.float32), log_scale)


@dataclasses.dataclass(frozen=True)
class Learned:
    """The same, as a checkpoint holds it: its rotation lies beside the weights."""

    channels: int = 1

    def shape(self, image_shape):
        return patches(0, self.channels).shape(image_shape)

    def init(self, key):
        del key
        return {"rotation": jnp.zeros((4 * self.channels, 4 * self.channels))}

    def encode(self, params, image, key=None):
        return Patches(params["rotation"]).encode(image, key)

    def decode(self, params, x):
        return Patches(params["rotation"]).decode(x)
