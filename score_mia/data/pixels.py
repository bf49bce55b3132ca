"""From image files and arrays of any kind to pixels of one size and colour.

There is one resampling filter in the house, Pillow's LANCZOS, which is the one of the
paper's data and widens when it reduces, so that it does not alias.
"""

from __future__ import annotations

import dataclasses
import io
import threading
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jaxtyping import Shaped, UInt8

from score_mia.check import UserError, at_least, one_line, one_of, require
from score_mia.files import DAMAGED

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Crop: TypeAlias = Literal["center", "none"]
"""How a picture that is not square becomes so: its centre, or all of it squeezed."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What a file may hold, told by its first bytes and never by its name.

Pillow knows forty more formats. Some of them start another program (Ghostscript runs
what an EPS file says), and most have decoders that few people look at. PPM stands for
the grey and colour maps of Netpbm (pgm, ppm), in which the ORL faces come.
"""

MOST_PIXELS = 64 * 2**20
"""Pixels of the largest picture that is decoded: 200 MB of RGB, in each of some
threads. A file of a few kilobytes can claim billions."""

_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B")


@dataclasses.dataclass(frozen=True)
class Decoder:
    """What every image of a set is turned into: uint8 [size, size, channels].

    EXIF orientation is applied, transparency laid over white, 16-bit grey reduced to
    eight bits and colour turned grey by ITU-R 601 luma; then cropped; then resized
    with LANCZOS. A file of several frames or pages is refused, since nobody can tell
    which of them the model saw. (Of a JPEG with previews behind it, as cameras write
    them, the first picture is the picture.)

    Attributes:
      size: side in pixels, or None to keep every image as large as it is.
      channels: 1 (grey), 3 (RGB), or None to keep grey images grey.
      crop: "center" cuts the largest centred square before resizing; "none" resizes
        the whole picture, which changes its aspect unless it is square.
    """

    size: int | None
    channels: int | None = 3
    crop: Crop = "center"

    def __post_init__(self) -> None:
        check_form(self.size, self.channels)
        one_of("crop", self.crop, ("center", "none"))

    def file(self, path: Path) -> UInt8[np.ndarray, "h w c"]:
        """Decode one file; `UserError` naming it if it cannot be read."""
        return self._decoded(path, f"image {path}", "repair or remove the file")

    def record(self, data: bytes, what: str) -> UInt8[np.ndarray, "h w c"]:
        """Decode the bytes of a prepared file; `UserError` naming `what` likewise."""
        return self._decoded(io.BytesIO(data), what, "prepare the set again")

    def _decoded(
        self, file: Path | io.BytesIO, what: str, remedy: str
    ) -> UInt8[np.ndarray, "h w c"]:
        try:
            with _opened(file) as picture:
                return self.picture(picture)
        except UserError as error:
            raise UserError(f"{what}: {error}") from error
        except DAMAGED as error:
            reason = one_line(error) or type(error).__name__
            raise UserError(f"{what} cannot be read ({reason}); {remedy}") from error

    def picture(self, picture: Picture) -> UInt8[np.ndarray, "h w c"]:
        """Decode one open Pillow image."""
        from PIL import Image, ImageOps

        picture = ImageOps.exif_transpose(picture)
        grey = self.channels == 1 or (self.channels is None and picture.mode in _GREY)
        picture = _opaque(_eight_bits(picture)).convert("L" if grey else "RGB")
        if self.size is not None:
            box = _centre(*picture.size) if self.crop == "center" else None
            side = (self.size, self.size)
            if box is not None:
                picture = picture.crop(box)
            if picture.size != side:
                picture = picture.resize(side, Image.Resampling.LANCZOS)
        values = np.array(picture, np.uint8)
        return values[:, :, None] if values.ndim == 2 else values


# `warnings` belong to the whole process: one file is opened at a time. Opening reads a
# few bytes; the decoding, which takes the time, is done outside.
_OPENING = threading.Lock()


def _opened(file: Path | io.BytesIO) -> Picture:
    """An image file of one of `FORMATS`, not yet decoded; its size is bounded."""
    from PIL import Image, UnidentifiedImageError

    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise _too_large("more than 178 million") from error
        except UnidentifiedImageError as error:
            raise OSError(f"it is none of {', '.join(FORMATS)}") from error
    try:
        width, height = picture.size
        if width * height > MOST_PIXELS:
            raise _too_large(f"{width} x {height}")
        frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
        remedy = "save each as a file of its own"
        require(frames == 1, "the file", f"holds {frames} frames or pages", remedy)
    except BaseException:
        picture.close()
        raise
    return picture


def _too_large(size: str) -> UserError:
    most = f"{MOST_PIXELS:,}"
    return UserError(f"has {size} pixels; give at most {most}: make it smaller first")


def check_form(size: int | None, channels: int | None) -> None:
    """Require a size of at least one pixel and 1 or 3 channels (None: as they are)."""
    if size is not None:
        at_least("size", size, 1)
    ok = channels in (None, 1, 3)
    remedy = "give 1 or 3, or nothing to keep the images' own"
    require(ok, f"channels={channels!r}", "is neither grey nor RGB", remedy)


def adapt(
    pixels: Shaped[np.ndarray, "n h w c"], size: int | None, channels: int | None
) -> Shaped[np.ndarray, "n h2 w2 c2"]:
    """Recolour and resize (centre crop, LANCZOS) uint8 or floating-point images.

    Floating-point images keep their precision and are clipped to [0, 1], since
    LANCZOS overshoots at edges.
    """
    check_form(size, channels)
    pixels = _recolour(pixels, channels)
    if size is None or pixels.shape[1:3] == (size, size):
        return pixels
    from PIL import Image

    mode, kind = ("L", np.uint8) if pixels.dtype == np.uint8 else ("F", np.float32)
    left, top, right, bottom = _centre(pixels.shape[2], pixels.shape[1])
    cut = pixels[:, top:bottom, left:right].astype(kind)
    out = np.empty((len(cut), size, size, cut.shape[3]), kind)
    for i, c in np.ndindex(len(cut), cut.shape[3]):
        plane = Image.fromarray(np.ascontiguousarray(cut[i, :, :, c]))
        assert plane.mode == mode
        out[i, :, :, c] = plane.resize((size, size), Image.Resampling.LANCZOS)
    return out if mode == "L" else np.clip(out, 0.0, 1.0)


def _recolour(
    pixels: Shaped[np.ndarray, "n h w c"], channels: int | None
) -> Shaped[np.ndarray, "n h w c2"]:
    have = pixels.shape[3]
    if channels in (None, have):
        return pixels
    problem = f"cannot be made from {have} channels"
    require(have in (1, 3), f"channels={channels}", problem, "give grey or RGB images")
    if channels == 3:
        return np.repeat(pixels, 3, axis=3)
    if pixels.dtype != np.uint8:
        return pixels @ np.asarray([[0.299], [0.587], [0.114]], pixels.dtype)
    # ITU-R 601 in 16-bit fixed point, as Pillow's convert("L") rounds it.
    luma = pixels.astype(np.uint32) @ np.asarray([[19595], [38470], [7471]], np.uint32)
    return ((luma + 0x8000) >> 16).astype(np.uint8)


def _centre(width: int, height: int) -> tuple[int, int, int, int]:
    """The largest centred square, as (left, top, right, bottom)."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _eight_bits(picture: Picture) -> Picture:
    if not picture.mode.startswith(("I", "F")):
        return picture
    from PIL import Image

    values = np.asarray(picture)
    ok = picture.mode != "F" and bool(values.min() >= 0 and values.max() <= 65535)
    require(
        ok, "pixels", f"mode {picture.mode} is not 8 or 16 bits", "convert it to PNG"
    )
    return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _opaque(picture: Picture) -> Picture:
    if not picture.has_transparency_data:
        return picture
    from PIL import Image

    paper = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(paper, picture.convert("RGBA"))
