"""What an encoder is: from images to features whose distances mean something."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.check import one_of, require
from score_mia.device import jit, size
from score_mia.encoders.layers import Batch
from score_mia.rows import tiled

CHANNELS = (1, 3)
Output = Literal["pooled", "tokens"]
Features = dict[str, Float[Array, "n ..."]]
"""{"pooled": [n, d]}, and {"tokens": [n, m, d]} where an encoder has such."""


@runtime_checkable
class Encoder(Protocol):
    """A frozen dataclass of plain fields that turns images into features.

    Attributes:
      name: what the features are called wherever a distance between them is shown.
      canonical: whether they are those that "FID" has always meant; any other
        Fréchet distance must not go by that name.
      fingerprint: of all that decides the features: fields and weights.
      tile: images of one call: other sizes would change the last bits.
    """

    @property
    def name(self) -> str:
        """What the features are called."""
        ...

    @property
    def canonical(self) -> bool:
        """Whether they are those of FID."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of fields and weights."""
        ...

    @property
    def tile(self) -> int:
        """Images of one call."""
        ...

    def params(self, channels: int) -> Any:
        """The weights for images of so many channels: a pytree of float32 arrays."""
        ...

    def apply(self, params: Any, images: Batch) -> Features:
        """Features of images [n, h, w, c], float32 in [0, 1]; a pure function.

        "pooled" [n, d] is always there; "tokens" [n, m, d], one row per place or
        patch, where the encoder has such. A row knows its own image only.
        """
        ...


def frechet_name(encoder: Encoder) -> str:
    """What the Fréchet distance of this encoder may be called."""
    return "FID" if encoder.canonical else f"FD[{encoder.name}]"


def at_places(x: Batch) -> Features:
    """A network's last map [n, h, w, d]: its mean, and its h w places as tokens."""
    n, h, w, d = x.shape
    return {"pooled": jnp.mean(x, axis=(1, 2)), "tokens": x.reshape(n, h * w, d)}


def encode(
    encoder: Encoder, images: Float[np.ndarray, "n h w c"], output: Output = "pooled"
) -> Float[np.ndarray, "n ..."]:
    """One kind of features of images in [0, 1], float32, a tile at a time.

    Raises:
      UserError: no images, images neither grey nor in colour, or an encoder that has
        no such features.
    """
    ok = images.ndim == 4 and len(images) > 0 and images.shape[-1] in CHANNELS
    problem = "are not [n, h, w, 1] or [n, h, w, 3]"
    remedy = "give at least one grey or colour image"
    require(ok, f"images of shape {images.shape}", problem, remedy)
    program, tile = _program(encoder, images.shape[-1], output), encoder.tile
    return tiled(
        lambda rows: program(images[rows].astype(np.float32)),
        np.arange(len(images)),
        tile,
    )


def tokens(encoder: Encoder, shape: tuple[int, int, int]) -> int:
    """How many an encoder makes of an image of shape (h, w, c).

    Raises:
      UserError: it has none.
    """
    one = jax.ShapeDtypeStruct((1, *shape), np.float32)
    features = jax.eval_shape(encoder.apply, encoder.params(shape[-1]), one)
    one_of(f"features of encoder {encoder.name!r}", "tokens", features)
    return features["tokens"].shape[1]


@functools.lru_cache(maxsize=4)
def _program(
    encoder: Encoder, channels: int, output: Output
) -> Callable[[np.ndarray], jax.Array]:
    """The compiled encoder with its weights on the device."""
    params = jax.tree.map(jnp.asarray, encoder.params(channels))

    def apply(params: Any, x: Batch) -> jax.Array:
        features = encoder.apply(params, x)
        one_of(f"features of encoder {encoder.name!r}", output, features)
        return features[output]

    return functools.partial(jit(apply, parameters=size(params)), params)
