"""A source that decodes its images when they are asked for, and ahead of that.

For data that do not fit in memory and are not to be kept decoded on disk. The images,
and the digest of the source, are those of an `ArraySource` of the same pixels, to the
bit; nothing but time hangs on how they are decoded:

    workers=0     in threads of this process (Pillow decodes outside Python's lock)
    workers=n     blocks of images in the order in which they are expected (`expect`),
                  or of the ids, decoded ahead by n processes with grain (the extra
                  "grain"); what is asked for in another order is decoded in threads
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8

from score_mia.check import UserError, extra, require
from score_mia.data.index import Index
from score_mia.data.pixels import Decoder
from score_mia.data.source import BLOCK, digest_of, rows_of
from score_mia.files import load_sealed, save_sealed
from score_mia.progress import Progress

AHEAD = 64
"""Images of a block that a worker decodes."""

_WAITING = 4  # blocks that a worker may be ahead
_SPARSE = 3  # one image in so many has to be wanted for a block to be decoded ahead


@runtime_checkable
class Stored(Protocol):
    """Images where they are kept, encoded; a value that another process can be sent.

    Attributes:
      name: for messages.
      columns: names of what is known of each image beside its pixels.
    """

    @property
    def name(self) -> str:
        """For messages."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what is known of each image beside its pixels."""
        ...

    def __len__(self) -> int: ...

    def image(self, row: int) -> UInt8[np.ndarray, "h w c"]:
        """One image, decoded; `UserError` naming it if it cannot be read."""
        ...

    def column(self, name: str, rows: Int[np.ndarray, " n"]) -> np.ndarray:
        """What is known of some images."""
        ...

    def fingerprint(self) -> str:
        """Of all that decides the images, told without reading them."""
        ...


def given(made: Any) -> dict[str, Any]:
    """What a dataclass was made of, without what it has opened since: to pickle it."""
    return {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}


@dataclasses.dataclass(frozen=True, eq=False)
class LazySource:
    """A `Source` of `Stored` images, numbered from 0.

    Attributes:
      stored: the images.
      workers: processes that decode ahead; 0 for none.
      cache: folder in which the digest is kept, which takes a pass over all images;
        None keeps none.
    """

    stored: Stored
    workers: int = 0
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.workers:
            _grain()

    @property
    def name(self) -> str:
        """For messages."""
        return self.stored.name

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c) of every image: of the first."""
        h, w, c = self.stored.image(0).shape
        return (h, w, c)

    @cached_property
    def ids(self) -> Int[np.ndarray, " n"]:
        """int64 [N], ascending."""
        return np.arange(len(self.stored), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.stored)

    @cached_property
    def digest(self) -> str:
        """As of an `ArraySource`; computed by one pass, once for what is kept."""
        if self.cache is None:
            return self._digest()
        path = self.cache / f"digest-{self.stored.fingerprint()}.json"
        if not path.exists():
            save_sealed(path, {"digest": self._digest()})
        return load_sealed(path, {"digest": str})["digest"]

    def _digest(self) -> str:
        def blocks() -> Iterator[np.ndarray]:
            with Progress(f"digest of {self.name}", len(self), "images") as progress:
                for start in range(0, len(self), BLOCK):
                    yield self.pixels(self.ids[start : start + BLOCK])
                    progress.advance(min(BLOCK, len(self) - start))

        stored, labels, captions = self.stored, None, None
        if "label" in stored.columns:
            labels = stored.column("label", self.ids)
        if "caption" in stored.columns:
            captions = stored.column("caption", self.ids).tolist()
        return digest_of(self.ids, blocks(), labels, captions)

    def images(self, ids: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n h w c"]:
        """float32 in [0, 1], in the order asked."""
        rows = rows_of(self.name, self.ids, np.asarray(ids))
        return self.pixels(rows).astype(np.float32) / np.float32(255)

    def expect(self, ids: Int[np.ndarray, " n"]) -> None:
        """That these images, ascending, will be asked for in their order.

        Workers decode them ahead and no others: of several hosts each has its own.
        """
        if self.workers:
            self._ahead.expect(rows_of(self.name, self.ids, np.asarray(ids)))

    def columns(
        self, ids: Int[np.ndarray, " n"], names: Collection[str]
    ) -> dict[str, np.ndarray]:
        """Those of the columns that there are, in the order asked."""
        rows = rows_of(self.name, self.ids, np.asarray(ids))
        known = {
            n: self.stored.column(n, rows) for n in self.stored.columns if n in names
        }
        if "image" in names:
            known["image"] = self.images(ids)
        return known

    def pixels(self, rows: Int[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w c"]:
        """Decoded, in the order asked; a row that is asked twice is decoded once."""
        wanted, back = np.unique(rows, return_inverse=True)
        out = np.empty((len(wanted), *self.shape), np.uint8)
        ready = self._ahead.take(wanted) if self.workers else {}

        def put(place: int) -> None:
            row = int(wanted[place])
            image = ready[row] if row in ready else self.stored.image(row)
            problem = f"has shape {image.shape}, but the first has {self.shape}"
            remedy = "give size=... (and channels) to make them equal"
            fits = image.shape == self.shape
            require(fits, f"{self.name}, image {row}", problem, remedy)
            out[place] = image

        for _ in self._threads.map(put, range(len(wanted))):
            pass
        return out if np.array_equal(wanted, rows) else out[back]

    def __getstate__(self) -> dict[str, Any]:
        """Without threads and workers: a process that gets it starts its own."""
        return given(self)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    @cached_property
    def _ahead(self) -> Ahead:
        return Ahead(Blocks(self.stored), self.workers)


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Images in blocks of `AHEAD`, as grain reads a data set.

    Attributes:
      stored: where they are.
      rows: ascending, which of them; None for all.
    """

    stored: Stored
    rows: Int[np.ndarray, " n"] | None = None

    @property
    def images(self) -> int:
        """How many images."""
        return len(self.stored) if self.rows is None else len(self.rows)

    def __len__(self) -> int:
        return -(-self.images // AHEAD)

    def __getitem__(self, block: int) -> Any:
        """A block of images; what went wrong instead, for a worker must not raise."""
        places = np.arange(block * AHEAD, min((block + 1) * AHEAD, self.images))
        rows = places if self.rows is None else self.rows[places]
        try:
            return np.stack([self.stored.image(row) for row in rows.tolist()])
        except (UserError, ValueError):
            return np.zeros(0, np.uint8)  # whoever asks for it decodes it, and is told


class Ahead:
    """Blocks of images in their order, a few of them decoded before they are asked for.

    The order is that of the images that are expected, or else of all. A pass begins
    with a call that follows the one before it, and goes on while calls go forward
    without a large gap. Everything else finds nothing ready.

    Args:
      blocks: what there is.
      workers: processes.
    """

    def __init__(self, blocks: Blocks, workers: int) -> None:
        self._blocks, self._workers = blocks, workers
        self._pass: Any = None
        self._next = 0  # the block that the pass gives next
        self._last = -1  # the place of the last row of the call before
        self._held: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def expect(self, rows: Int[np.ndarray, " n"]) -> None:
        """These ascending rows and no others, from now on."""
        with self._lock:
            self._plan(rows)

    def _plan(self, rows: Int[np.ndarray, " n"] | None) -> None:
        """Rows from now on; None for all."""
        self._end()
        self._blocks = dataclasses.replace(self._blocks, rows=rows)
        self._next, self._last = 0, -1

    def _end(self) -> None:
        """Of the pass, if one is on."""
        if self._pass is not None:
            self._pass.close()
        self._pass, self._held = None, {}

    def _places(self, rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Of rows in the order; who asks for one that was not expected ends that."""
        expected = self._blocks.rows
        if expected is None:
            return rows
        places = np.searchsorted(expected, rows)
        if np.array_equal(expected[np.minimum(places, len(expected) - 1)], rows):
            return places
        self._plan(None)
        return rows

    def take(self, rows: Int[np.ndarray, " n"]) -> dict[int, np.ndarray]:
        """Row -> image, of those of the ascending rows that are decoded ahead."""
        with self._lock:
            places = self._places(rows)
            first, last = int(places[0]), int(places[-1])
            follows, self._last = 0 < first - self._last <= AHEAD, last
            needed = np.unique(places // AHEAD).tolist()
            dense = _SPARSE * len(rows) >= last - first + 1
            reach = self._next + self._workers * _WAITING
            on = self._pass is not None and self._next - 1 <= needed[0] <= reach
            if not (dense and (on or follows)):
                return {}
            if not on:
                self._begin(needed[0])
            self._advance(needed[-1])
            found = [self._held.get(place // AHEAD) for place in places.tolist()]
            self._held = {n: b for n, b in self._held.items() if n >= needed[-1]}
        return {
            row: block[place % AHEAD]
            for row, place, block in zip(
                rows.tolist(), places.tolist(), found, strict=True
            )
            if block is not None and len(block)
        }

    def _begin(self, block: int) -> None:
        """Start workers at a block."""
        from absl import flags

        grain = _grain()
        self._end()
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # grain reads its own, with their defaults
        data = grain.MapDataset.source(self._blocks)[block:]
        reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
        options = grain.MultiprocessingOptions(
            num_workers=self._workers, per_worker_buffer_size=_WAITING
        )
        self._pass = iter(data.to_iter_dataset(reading).mp_prefetch(options))
        self._next = block

    def _advance(self, block: int) -> None:
        """Take blocks from the pass up to this one."""
        while self._next <= block and (made := next(self._pass, None)) is not None:
            self._held[self._next] = np.asarray(made)
            self._next += 1


def _grain() -> Any:
    try:
        import grain
    except ImportError as error:
        raise UserError(
            f"data: workers need the package grain; {extra('grain')}"
        ) from error
    return grain


@dataclasses.dataclass(frozen=True, eq=False)
class Files:
    """`Stored` images of a folder.

    Attributes:
      index: which they are.
      decoder: what each is turned into.
      captions: one of each, or None.
    """

    index: Index
    decoder: Decoder
    captions: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """For messages."""
        return f"folder {self.index.root}"

    @property
    def columns(self) -> tuple[str, ...]:
        """File names, and captions if there are any."""
        return ("file",) if self.captions is None else ("caption", "file")

    def __len__(self) -> int:
        return len(self.index)

    def image(self, row: int) -> UInt8[np.ndarray, "h w c"]:
        """One file, decoded, if it is what was found when the folder was searched."""
        return self.decoder.file(self.index.check(row))

    def column(self, name: str, rows: Int[np.ndarray, " n"]) -> np.ndarray:
        """Names or captions of some images."""
        if name == "file":
            return np.asarray(self.index.names(rows))
        assert self.captions is not None
        return np.asarray([self.captions[row] for row in rows.tolist()])

    def fingerprint(self) -> str:
        """Of names, sizes, times and captions, and of how files are decoded."""
        where = str(self.index.root.resolve())
        told = "" if self.captions is None else json.dumps(self.captions)
        return self.index.fingerprint(repr(self.decoder), where, told)
