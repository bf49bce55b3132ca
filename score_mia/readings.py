"""`Readings`: what signals read off one model, row by row; and `Evidence`, what a rule
sees: the readings of the target and of other models.

Rows are kept in pieces that are read when they are asked for, so that a rule which goes
through them block by block holds one piece at a time. No JAX here.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from score_mia.check import UserError, require

Read = Callable[[Sequence[int]], Float[np.ndarray, "n k"]]
"""From the places of columns to their values in one piece."""

_CELLS = 2**26
"""Most numbers that `matrices` yields at once."""

_SPOT = re.compile(r"(\d+),(\d+),(\d+)")
"""Row, column and channel of a pixel, at the end of a column's name."""


class Piece(NamedTuple):
    """Some consecutive rows, and how to read columns of them."""

    rows: int
    read: Read


@dataclasses.dataclass(frozen=True, eq=False)
class Readings:
    """K numbers about each of N images, higher = more member-like.

    Attributes:
      ids: [N] int64, strictly ascending.
      names: K column names, e.g. "loss@200".
      pieces: the rows in order, cut somehow.
      member: [N] bool, True for images of the model's training set (the positive
        class); None where that is not for the reader to know.
      diagnostics: readings of the same rows that are reported and never scored, e.g.
        "network_evaluations"; None if there are none.
    """

    ids: Int[np.ndarray, " n"]
    names: tuple[str, ...]
    pieces: tuple[Piece, ...]
    member: Bool[np.ndarray, " n"] | None = None
    diagnostics: Readings | None = None

    def __post_init__(self) -> None:
        require(
            sum(piece.rows for piece in self.pieces) == len(self.ids),
            "readings",
            f"{sum(piece.rows for piece in self.pieces)} rows for {len(self.ids)} ids",
            "give one row per id",
        )
        ok = bool(np.all(np.diff(self.ids) > 0))
        remedy = "build them with Readings.of, which sorts, and give each image once"
        require(ok, "readings", "ids are not strictly ascending", remedy)

    @staticmethod
    def of(
        values: Float[np.ndarray, "n k"],
        ids: Int[np.ndarray, " n"],
        names: Sequence[str],
        member: Bool[np.ndarray, " n"] | None = None,
        diagnostics: Mapping[str, Float[np.ndarray, " n"]] | None = None,
    ) -> Readings:
        """Readings in memory, from rows in any order (shapes as in the class)."""
        values = np.asarray(values, np.float32)
        require(
            values.ndim == 2 and values.shape == (len(ids), len(names)),
            "readings",
            f"values of shape {values.shape} do not fit {len(ids)} ids and "
            f"{len(names)} names",
            "give one row per id and one column per name",
        )
        order = np.argsort(ids, kind="stable")
        ids = np.asarray(ids, np.int64)[order]
        further = None
        if diagnostics:
            columns = np.stack(list(diagnostics.values()), 1)[order]
            further = Readings.of(columns, ids, tuple(diagnostics))
        return Readings(
            ids,
            tuple(names),
            (_held(values[order]),),
            None if member is None else np.asarray(member, bool)[order],
            further,
        )

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(
        self, columns: Sequence[str] | None = None
    ) -> Iterator[Float[np.ndarray, "n k"]]:
        """The named columns (all by default), piece by piece, in the order of the ids.

        Raises:
          UserError: there is no such column.
        """
        places = self._places(self.names if columns is None else columns)
        for piece in self.pieces:
            yield piece.read(places)

    def matrix(self, columns: Sequence[str] | None = None) -> Float[np.ndarray, "n k"]:
        """The named columns (all by default) of all rows at once."""
        count = len(self.names if columns is None else columns)
        blocks = [np.zeros((0, count), np.float32), *self.blocks(columns)]
        return np.concatenate(blocks)

    def matrices(self) -> Iterator[tuple[tuple[str, ...], Float[np.ndarray, "n k"]]]:
        """All columns of all rows, a few columns at a time: their names and values."""
        width = max(1, _CELLS // max(1, len(self)))
        for start in range(0, len(self.names), width):
            names = self.names[start : start + width]
            yield names, self.matrix(names)

    def column(self, name: str) -> Float[np.ndarray, " n"]:
        """One column [N] of the values or the diagnostics, by its name."""
        if self.diagnostics is not None and name in self.diagnostics.names:
            return self.diagnostics.column(name)
        return self.matrix((name,))[:, 0]

    def select(self, rows: Bool[np.ndarray, " n"]) -> Readings:
        """The rows of a boolean mask [N]; nothing is read."""
        pieces, start = [], 0
        for piece in self.pieces:
            kept = rows[start : start + piece.rows]
            start += piece.rows
            if kept.any():
                pieces.append(_some(piece, kept))
        return Readings(
            self.ids[rows],
            self.names,
            tuple(pieces),
            None if self.member is None else self.member[rows],
            None if self.diagnostics is None else self.diagnostics.select(rows),
        )

    def finite(self) -> Bool[np.ndarray, " n"]:
        """[N] whether every value of a row is finite."""
        whole = [np.isfinite(block).all(1) for block in self.blocks()]
        return np.concatenate([np.zeros(0, bool), *whole])

    def _places(self, columns: Sequence[str]) -> list[int]:
        known = {name: place for place, name in enumerate(self.names)}
        for name in columns:
            if name not in known:
                further = () if self.diagnostics is None else self.diagnostics.names
                raise UserError(
                    f"signals have no column {name!r}; known: "
                    + ", ".join((*self.names[:20], *further))
                )
        return [known[name] for name in columns]


def joined(readings: Mapping[str, Readings]) -> Readings:
    """Several signals of the same images side by side.

    One alone keeps its names; of several, each column is called "signal/column".
    """
    (_, first), *rest = readings.items()
    if not rest:
        return first
    for name, other in rest:
        ok = np.array_equal(first.ids, other.ids)
        problem = "holds other images than the attack's first signal"
        require(ok, f"signal {name!r}", problem, "compute both on one split")
    ends = {int(end) for r in readings.values() for end in _ends(r)}
    cuts = [0, *sorted(ends)]
    spans = itertools.pairwise(cuts)
    everything = list(readings.values())
    pieces = tuple(Piece(b - a, _beside(everything, a, b)) for a, b in spans)
    further = {n: r.diagnostics for n, r in readings.items() if r.diagnostics}
    return Readings(
        first.ids,
        tuple(f"{name}/{c}" for name, r in readings.items() for c in r.names),
        pieces,
        first.member,
        joined(further) if len(further) > 1 else next(iter(further.values()), None),
    )


def pixel_names(image: str, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """Names of the columns that hold an image, "secmi@100/03,17,2" and the like.

    They end in row, column and channel, with leading zeros: sorted, they are in the
    order of an array [h, w, c].
    """
    digits = [len(str(side - 1)) for side in shape]
    row, column, channel = (
        [f"{at:0{wide}d}" for at in range(side)]
        for side, wide in zip(shape, digits, strict=True)
    )
    spots = itertools.product(row, column, channel)
    return tuple(f"{image}/{','.join(spot)}" for spot in spots)


def pixel_places(names: Sequence[str]) -> Int[np.ndarray, "h w c"]:
    """Where among the columns each pixel of an image is, whatever their order.

    Several images of one size, of several signals say, are channels of one, in the
    order of their names.

    Raises:
      UserError: a column is no pixel, a pixel is missing, or the images differ in size.
    """
    images: dict[str, dict[tuple[int, ...], int]] = {}
    for place, name in enumerate(names):
        image, _, end = name.rpartition("/")
        spot = _SPOT.fullmatch(end)
        remedy = "give the signal pixels=(h, w, c), where it has that field"
        require(spot is not None, f"column {name!r}", "is no pixel's", remedy)
        assert spot is not None
        images.setdefault(image, {})[tuple(map(int, spot.groups()))] = place
    grids = []
    for image, places in sorted(images.items()):
        shape = tuple(1 + max(sides) for sides in zip(*places, strict=True))
        whole = len(places) == math.prod(shape)
        problem = f"has {len(places)} pixels, and none of others up to {shape}"
        require(whole, f"image {image!r}", problem, "name a column for each pixel")
        grid = np.empty(shape, np.int64)
        for spot, place in places.items():
            grid[spot] = place
        grids.append(grid)
    sizes = sorted({grid.shape[:2] for grid in grids})
    remedy = "give the signals pixels of one height and width"
    require(len(sizes) == 1, "images of columns", f"are of sizes {sizes}", remedy)
    return np.concatenate(grids, axis=2)


class Evidence(NamedTuple):
    """What a rule sees.

    Attributes:
      target: readings of the model under attack; labels only of images that are known.
      others: of other models (shadows, a base), each with its own rows and labels.
    """

    target: Readings
    others: tuple[Readings, ...] = ()

    def select(self, rows: Bool[np.ndarray, " n"]) -> Evidence:
        """Those rows of the target's readings, and all of the others'."""
        return Evidence(self.target.select(rows), self.others)

    def unlabelled(self) -> Evidence:
        """The same numbers, without who is a member of the target's training set."""
        return self._replace(target=dataclasses.replace(self.target, member=None))


def _held(values: np.ndarray) -> Piece:
    return Piece(len(values), lambda places: values[:, places])


def _some(piece: Piece, kept: np.ndarray) -> Piece:
    if kept.all():
        return piece
    return Piece(int(kept.sum()), lambda places: piece.read(places)[kept])


def _ends(readings: Readings) -> np.ndarray:
    return np.cumsum([piece.rows for piece in readings.pieces])


def _beside(readings: Sequence[Readings], start: int, stop: int) -> Read:
    """How to read rows start ... stop of several readings side by side."""

    def read(places: Sequence[int]) -> np.ndarray:
        columns = np.empty((stop - start, len(places)), np.float32)
        wanted, first = np.asarray(places), 0
        for one in readings:
            own = (wanted >= first) & (wanted < first + len(one.names))
            if own.any():
                ours = [int(place) for place in wanted[own] - first]
                columns[:, own] = _span(one, start, stop, ours)
            first += len(one.names)
        return columns

    return read


def _span(readings: Readings, start: int, stop: int, places: list[int]) -> np.ndarray:
    """Rows start ... stop, which lie within one piece."""
    end = 0
    for piece in readings.pieces:
        begin, end = end, end + piece.rows
        if start < end:
            return piece.read(places)[start - begin : stop - begin]
    raise AssertionError("rows beyond the last piece")
