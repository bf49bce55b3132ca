"""`Source`: images with stable ids, by random access; and the one class that is one.

Data sets of this room are decoded once into one array of pixels (60,000 images of
32x32x3 are 184 MB, FFHQ at 64x64 is 860 MB; a large npy file or a disk cache is memory
mapped), so that training and attacks index memory and never wait for a decoder. What
is too large for that is decoded as it is asked for (`data.lazy`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, Shaped

from score_mia.check import UserError, require
from score_mia.files import digest_each

BLOCK = 1024
"""Rows hashed at a time; part of the digest's definition."""


def digest_of(
    ids: Int[np.ndarray, " n"],
    blocks: Iterable[np.ndarray],
    labels: Int[np.ndarray, " n"] | None,
    captions: Sequence[str] | None,
) -> str:
    """The digest of a source.

    Args:
      ids: of its images.
      blocks: their pixels, `BLOCK` rows at a time.
      labels, captions: of each image, where they are known.
    """

    def parts() -> Iterator[str | np.ndarray]:
        yield ids
        yield from blocks
        if labels is not None:
            yield from ("classes", labels)
        if captions is not None:
            yield from ("captions", json.dumps(captions))

    return digest_each(parts())


COLUMNS = ("image", "label", "caption", "file")
"""What a source may know of an image."""


@runtime_checkable
class Source(Protocol):
    """Images in [0, 1], each with an id that is the same in every run.

    Attributes:
      shape: (h, w, c) of every image.
      ids: [N] int64, ascending.
      digest: of the ids and of every column but "file": pixels, class labels, captions.
        A split keeps it, so that a changed data set is noticed. It is computed when
        first asked for (about a second per gigabyte) and then remembered.
    """

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of every image."""
        ...

    @property
    def ids(self) -> Int[np.ndarray, " n"]:
        """int64 [N], ascending."""
        ...

    @property
    def digest(self) -> str:
        """Of the ids and of every column but "file"."""
        ...

    def images(self, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n h w c"]:
        """The images float32 in [0, 1], in the order asked; `UserError` if unknown."""
        ...

    def columns(
        self, ids: Int[np.ndarray, " n"], names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """What is known of images, in the order asked.

        Args:
          ids: of the images.
          names: the columns wanted: "image" as by `images`; "label", int64 [n] class
            labels; "caption" and "file", texts [n]. A file's name is there for people:
            it finds an image and never decides a number.

        Returns:
          Those of them that the source has.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """A `Source` whose pixels are one array, in memory or memory mapped.

    Attributes:
      name: for messages, such as "folder ~/pictures".
      pixels: [N, h, w, c] uint8, or floating point in [0, 1].
      ids: [N] int64, strictly ascending.
      labels: [N] int64 class labels, or None.
      files: file names, one per image, or None.
      captions: texts, one per image, or None.
    """

    name: str
    pixels: Shaped[np.ndarray, "n h w c"]
    ids: Int[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"] | None = None
    files: tuple[str, ...] | None = None
    captions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        n = len(self.pixels)
        require(n > 0, self.name, "holds no images", "give at least one")
        ok = len(self.ids) == n and bool(np.all(np.diff(self.ids) > 0))
        problem = f"{len(self.ids)} ids for {n} images are not one ascending id each"
        require(ok, self.name, problem, "number the images without repeats")
        for name, column in self._known.items():
            problem = f"{len(column)} {name}s do not fit {n} images"
            require(len(column) == n, self.name, problem, f"give one {name} per image")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of every image."""
        h, w, c = self.pixels.shape[1:]
        return (h, w, c)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def digest(self) -> str:
        """Of ids, pixels, labels and captions; computed once."""
        starts = range(0, len(self.pixels), BLOCK)
        blocks = (self.pixels[i : i + BLOCK] for i in starts)
        return digest_of(self.ids, blocks, self.labels, self.captions)

    def images(self, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n h w c"]:
        """float32 in [0, 1], in the order asked."""
        return self._images(self._rows(ids))

    def columns(
        self, ids: Int[np.ndarray, " n"], names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """Those of the columns that there are, in the order asked."""
        rows = self._rows(ids)
        columns = {n: c[rows] for n, c in self._known.items() if n in names}
        if "image" in names:
            columns["image"] = self._images(rows)
        return columns

    @cached_property
    def _known(self) -> dict[str, np.ndarray]:
        """The columns beside the images, those that are there."""
        table = {"label": self.labels, "caption": self.captions, "file": self.files}
        return {n: np.asarray(c) for n, c in table.items() if c is not None}

    def _images(self, rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n h w c"]:
        values = self.pixels[rows]
        if values.dtype == np.uint8:
            return values.astype(np.float32) / np.float32(255)
        return values.astype(np.float32)

    def _rows(self, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return rows_of(self.name, self.ids, np.asarray(ids))


def rows_of(
    name: str, known: Int[np.ndarray, " m"], ids: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Where some ids are among the ascending ones of a source.

    Raises:
      UserError: one of them is not there.
    """
    rows = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    unknown = ids[known[rows] != ids]
    if len(unknown):
        remedy = f"its {len(known)} ids run from {known[0]} to {known[-1]}"
        raise UserError(f"{name} has no image with id {unknown[0]}; {remedy}")
    return rows
