"""Which frequencies of a comparison count (after FreMIA, 2505.20955; FCRE, 2506.14919).

A network gets the high frequencies of every image wrong, whoever trained on it: they
are noise to an attack that compares two images or two noises. FreMIA lets them through
weakly (radius 5, scale 0.2); FCRE, of which the abstract was read, keeps a band in the
middle. Both are linear, so the filtered images differ by the filtered difference, and
that is what a signal filters.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from score_mia.check import at_least, require


@dataclasses.dataclass(frozen=True)
class Filter:
    """Keeps the frequencies of a band, and a share of all others.

    A frequency is the length of (cycles per height, cycles per width), so that 0 is the
    mean of a channel, and half the side the finest there is along an axis. With its
    defaults it is FreMIA's low pass; `dict(low=2, high=8, rest=0)` is a band.

    Attributes:
      low, high: the band, both ends kept.
      rest: what all other frequencies are multiplied by.
    """

    low: float = 0.0
    high: float = 5.0
    rest: float = 0.2

    def __post_init__(self) -> None:
        at_least("filter.low", self.low, 0.0)
        at_least("filter.rest", self.rest, 0.0)
        ok = self.low <= self.high
        band = f"filter.low={self.low}, filter.high={self.high}"
        require(ok, band, "is no band", "give low <= high")

    @property
    def words(self) -> str:
        """For a title."""
        most = f"{self.low:g} to {self.high:g}" if self.low else f"to {self.high:g}"
        return f"frequencies {most}"

    def mask(self, height: int, width: int) -> Float[np.ndarray, "h w"]:
        """What each frequency is multiplied by, in the order of a discrete FFT."""
        down, right = (np.fft.fftfreq(side) * side for side in (height, width))
        length = np.hypot(down[:, None], right[None, :])
        kept = (self.low <= length) & (length <= self.high)
        return np.where(kept, 1.0, self.rest)

    def __call__(
        self, x: Float[Array, "*n h w c"] | Float[np.ndarray, "*n h w c"]
    ) -> Float[Array, "*n h w c"]:
        """Filtered images, or differences of images, each channel by itself."""
        mask = self.mask(*x.shape[-3:-1]).astype(np.complex64)
        mask = mask.reshape((1,) * (x.ndim - 3) + (*mask.shape, 1))
        axes = (-3, -2)
        return jnp.fft.ifft2(mask * jnp.fft.fft2(x, axes=axes), axes=axes).real
