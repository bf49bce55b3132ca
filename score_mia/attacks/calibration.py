"""Any signal, held against how complex the image is.

A flat image is easy to denoise and a busy one is not, whoever trained on them. So a
loss is divided by the number of bytes that the image takes when it is compressed (after
`T_mc_cal` of Rao & Moyer 2026, 2603.13421, of whom only the abstract was read; to
likelihoods Serra et al. 2020, 1909.11480, add the code's length).

The number of bytes is known without any model. Where members and non-members are of
different kinds it tells them apart alone, so a calibrated attack says nothing unless
the control `blind` stands beside it; its title says so.
"""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from score_mia.attacks.nested import (
    Around,
    AroundHost,
    AroundTraced,
    ASignal,
    Values,
    require_signal,
)
from score_mia.attacks.protocol import Access, HostQuery, HostSignal
from score_mia.check import one_of, require
from score_mia.sampling.kept import as_picture

FORMS = ("ratio", "log", "sum")
FORMATS = ("png", "zlib")

NATS = 8 * float(np.log(2.0))
"""Of a byte."""

_LEAST = 1e-30
"""What no distance is below, so that even none has a logarithm."""

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclasses.dataclass(frozen=True)
class Compressed:
    """How many bytes an image's pixels, of 8 bits a colour, take when compressed.

    Attributes:
      format: "png", whose filters know neighbours, or "zlib", of images with any number
        of channels.
    """

    format: str = "png"

    def __post_init__(self) -> None:
        one_of("format", self.format, FORMATS)

    @property
    def access(self) -> Access:
        """No model has a part in it."""
        return "none"

    def batch(
        self, model: Any, queries: HostQuery
    ) -> dict[str, Float[np.ndarray, "n 1"]]:
        """{"bytes": of each}."""
        del model
        sizes = [self._size(image) for image in as_picture(queries.images)]
        return {"bytes": np.asarray(sizes, np.float32)[:, None]}

    def _size(self, pixels: np.ndarray) -> int:
        if self.format == "zlib":
            return len(zlib.compress(pixels.tobytes(), 9))
        from PIL import Image

        channels = pixels.shape[-1]
        problem = f"has no images of {channels} channels"
        require(channels in _MODES, "format='png'", problem, "say format='zlib'")
        grey = pixels[..., 0] if channels == 1 else pixels
        stream = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(grey), _MODES[channels])
        picture.save(stream, format="png", optimize=True)
        return len(stream.getvalue())


@dataclasses.dataclass(frozen=True)
class _Calibration(Around):
    """What `calibrated` says.

    Attributes:
      form, format: see there.
    """

    form: str = "ratio"
    format: str = "png"

    def __post_init__(self) -> None:
        one_of("form", self.form, FORMS)
        _ = self.product

    @property
    def product(self) -> Compressed:
        """The number of bytes."""
        return Compressed(self.format)

    def titled(self, title: str) -> str:
        """With the reminder that no reader may miss."""
        return f"{title}, by compressed size (to be read beside the blind control)"

    def changed(self, values: Values, row: Mapping[str, Any]) -> Values:
        """The calibrated columns."""
        size = row["bytes"]
        if self.form == "ratio":
            return values / size
        if self.form == "sum":
            return values + NATS * size
        xp = jnp if isinstance(values, jax.Array) else np
        # What is no distance has no logarithm: told as a reading that is not finite.
        distance = xp.where(values <= 0, xp.maximum(-values, _LEAST), np.nan)
        return -xp.log(distance / size)


class Calibrated(_Calibration, AroundTraced):
    """`calibrated` of a traced signal."""


class CalibratedHost(_Calibration, AroundHost):
    """`calibrated` of a host signal."""


def calibrated(
    signal: ASignal, form: str = "ratio", format: str = "png"
) -> Calibrated | CalibratedHost:
    """Each column of another signal, calibrated by the compressed size of the image.

    Stand the control `blind` beside it: the size alone may tell the groups apart.

    Args:
      signal: whose columns, `dict(name="loss", ...)`; traced or not.
      form: "ratio", column / bytes, for what is minus a distance, such as a loss (a
        similarity it would turn the wrong way); "log", -log(-column / bytes), which has
        the same order and is nearer to normal, for rules that weigh or fit Gaussians;
        "sum", column + 8 log 2 bytes, for log densities in nats.
      format: "png" or "zlib".

    Raises:
      UserError: an unknown form or format.
    """
    require_signal("calibrated", signal)
    kind = CalibratedHost if isinstance(signal, HostSignal) else Calibrated
    return kind(signal, form, format)
