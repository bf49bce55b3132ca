"""The way between images in [0, 1] and x, the same thing in a model's own space."""

from __future__ import annotations

import dataclasses
from typing import Protocol, final, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.arrays import Key, Params
from score_mia.check import require


@runtime_checkable
class Codec(Protocol):
    """The way between images in [0, 1] and x, the same thing in the model's own space.

    A pytree: one that has parameters carries them as its arrays, which are part of the
    model, of its digest and of its size. Written for one image.

    Attributes:
      log_scale: log |d x / d image| per dimension, which densities on images gain; None
        where there is no density on pixels, as behind a learned encoder.
    """

    @property
    def log_scale(self) -> float | None:
        """See above."""
        ...

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x for images of a shape; `UserError` if it takes none such."""
        ...

    def encode(
        self, image: Float[Array, "..."], key: Key | None = None
    ) -> Float[Array, "..."]:
        """From [0, 1] to x: a draw keyed by `key` where it is random, else its mode."""
        ...

    def decode(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """From x to [0, 1], unclipped."""
        ...


def half_range(codec: Codec) -> float:
    """Half the range of x: 1 for x in [-1, 1], and for a learned space, of that size.

    In its units a noise level means the same for every model.
    """
    scale = codec.log_scale
    return 1.0 if scale is None else 0.5 * float(np.exp(scale))


@final
@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Affine:
    """The affine map from images in [0, 1] to [low, high].

    Attributes:
      low, high: where 0 and 1 go: the range of the network's input.
    """

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        ok = bool(np.isfinite([self.low, self.high]).all()) and self.low < self.high
        require(ok, f"codec {self}", "is no ascending pair", "give finite low < high")

    def __repr__(self) -> str:
        # Its name in version 0.2: digests of targets are taken of it.
        return f"Codec(low={self.low!r}, high={self.high!r})"

    @property
    def log_scale(self) -> float:
        """log (high - low)."""
        return float(np.log(self.high - self.low))

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The image's own."""
        return image_shape

    def encode(
        self, image: Float[Array, "..."], key: Key | None = None
    ) -> Float[Array, "..."]:
        """Nothing is drawn."""
        del key
        return self.low + (self.high - self.low) * image

    def decode(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The way back."""
        return (x - self.low) / (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class _Squares:
    """What the codecs of squares of pixels share."""

    low: float = -1.0
    high: float = 1.0
    side: int = 2

    def __post_init__(self) -> None:
        _ = self._affine
        problem = "makes squares of one pixel"
        require(self.side > 1, f"codec side={self.side}", problem, "give 2 or more")

    @property
    def _affine(self) -> Affine:
        return Affine(self.low, self.high)

    def _count(self, height: int, width: int) -> tuple[int, int]:
        """How many squares there are, one below the other and side by side."""
        ok = height % self.side == 0 and width % self.side == 0
        problem = f"does not divide images of {height}x{width}"
        require(ok, f"codec side={self.side}", problem, "resize them, or give another")
        return height // self.side, width // self.side

    def _cut(self, image: Float[Array, "..."]) -> Float[Array, "..."]:
        """The image, affinely mapped, as [h, side, w, side, c]."""
        height, width, channels = image.shape
        h, w = self._count(height, width)
        mapped = self._affine.encode(image)
        return mapped.reshape(h, self.side, w, self.side, channels)


@final
@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Folded(_Squares):
    """`Affine`, then squares of pixels side by side in the channels (space to depth).

    The same numbers in another order, so densities are those on pixels. A network sees
    a smaller image of more channels, which costs it less.

    Attributes:
      low, high: as of `Affine`.
      side: of a square, which divides height and width.
    """

    @property
    def log_scale(self) -> float:
        """log (high - low)."""
        return self._affine.log_scale

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Height and width by `side`, channels by its square."""
        h, w, c = image_shape
        return *self._count(h, w), c * self.side**2

    def encode(
        self, image: Float[Array, "..."], key: Key | None = None
    ) -> Float[Array, "..."]:
        """Nothing is drawn."""
        del key
        squares = self._cut(image)
        h, _, w, _, _ = squares.shape
        return squares.transpose(0, 2, 1, 3, 4).reshape(h, w, -1)

    def decode(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """The way back."""
        (h, w, c), n = x.shape, self.side
        squares = x.reshape(h, w, n, n, c // n**2).transpose(0, 2, 1, 3, 4)
        return self._affine.decode(squares.reshape(h * n, w * n, c // n**2))


@final
@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Pooled(_Squares):
    """The mean of each square of pixels, as `Affine` maps it: a smaller image.

    The smallest autoencoder there is: what is finer than a square is lost, so there is
    no density on pixels, and a network has that much less to learn. Decoded are cubic
    interpolations, moved square by square so that encoding them gives x again.

    Attributes:
      low, high: as of `Affine`.
      side: of a square, which divides height and width.
    """

    @property
    def log_scale(self) -> None:
        """None."""
        return None

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Height and width by `side`."""
        h, w, c = image_shape
        return *self._count(h, w), c

    def encode(
        self, image: Float[Array, "..."], key: Key | None = None
    ) -> Float[Array, "..."]:
        """Nothing is drawn."""
        del key
        return jnp.mean(self._cut(image), axis=(1, 3))

    def decode(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """An image whose squares have these means."""
        (h, w, c), n = x.shape, self.side
        smooth = jax.image.resize(x, (h * n, w * n, c), "cubic")
        off = x - jnp.mean(smooth.reshape(h, n, w, n, c), axis=(1, 3))
        return self._affine.decode(smooth + jnp.repeat(jnp.repeat(off, n, 0), n, 1))


@runtime_checkable
class LearnedCodec(Protocol):
    """A codec whose parameters are kept beside the network's: what a spec names.

    A frozen dataclass of plain fields, static and hashable; `Bound` joins it to its
    parameters. Behind it there is no density on pixels.
    """

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x for images of a shape; `UserError` if it takes none such."""
        ...

    def init(self, key: Key) -> Params:
        """Fresh parameters, a nested dict of arrays."""
        ...

    def encode(
        self, params: Params, image: Float[Array, "..."], key: Key | None
    ) -> Float[Array, "..."]:
        """From one image in [0, 1] to x: a draw keyed by `key`, or its mode."""
        ...

    def decode(self, params: Params, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """From one x to [0, 1], unclipped."""
        ...


@final
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Bound:
    """A learned codec with its parameters: a `Codec`, without a density on pixels."""

    kind: LearnedCodec = dataclasses.field(metadata={"static": True})
    params: Params

    def __repr__(self) -> str:
        # Digests of targets are taken of it; those of parameters stand beside it.
        return repr(self.kind)

    @property
    def log_scale(self) -> None:
        """None."""
        return None

    def shape(self, image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The shape of x for images of a shape."""
        return self.kind.shape(image_shape)

    def encode(
        self, image: Float[Array, "..."], key: Key | None = None
    ) -> Float[Array, "..."]:
        """From [0, 1] to x."""
        return self.kind.encode(self.params, image, key)

    def decode(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """From x to [0, 1], unclipped."""
        return self.kind.decode(self.params, x)


def bound(codec: Codec | LearnedCodec, params: Params | None = None) -> Codec:
    """The codec with its parameters (None: a template), if it learned any."""
    return Bound(codec, params) if isinstance(codec, LearnedCodec) else codec
