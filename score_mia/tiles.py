"""Tiles on their way through a device, and how large they should be.

Several are begun before the first is fetched, so that reading, transfers and computing
overlap; what they are made of is read for all of them at once. Nothing here can change
a row: a tile is one call of one program, however many are on their way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, UInt32

from score_mia import device
from score_mia.arrays import Key
from score_mia.attacks.protocol import Query, Reading, Signal
from score_mia.check import UserError, at_least, one_of
from score_mia.device import Precision
from score_mia.hosts import TaskError
from score_mia.rows import Advance, Ids, fetched

IN_FLIGHT = 16
"""Tiles that are begun before the first is fetched, at most."""

AHEAD_BYTES = 2**26
"""What they are made of takes so much memory, at most, if more than one is begun."""

TOLD_SECONDS = 0.1
"""Between two times that progress is told of."""

SIZES = (16, 64, 256, 1024)
"""Rows a tile among which `fastest` chooses."""

_USUAL = 16
_WORTH = 1.05
_CALLS = 3


@dataclasses.dataclass(frozen=True)
class Engine:
    """How to compute, never what.

    Attributes:
      tile: rows per device and call. Part of the result's identity at 1e-5 relative
        (XLA picks other kernels for other sizes), so it is recorded and kept. "auto"
        tries some on the first images of each traced signal and keeps the fastest.
      shard: rows per file, the unit of resumption; rounded up to whole tiles.
      devices: how many local devices to use, None for all.
      memory: bytes of a device that a tile may take; a signal that tells what a row
        needs (`Columns.bytes_per_row`) gets a smaller one where it must; None for none.
      precision: of products: "float32", "tensorfloat32" (`device.precisely`), or
        "bfloat16", in which the network multiplies. Part of the result's identity.
    """

    tile: int | Literal["auto"] = 16
    shard: int = 256
    devices: int | None = None
    memory: int | None = None
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        at_least("engine.tile", self.rows, 1)
        at_least("engine.shard", self.shard, 1)
        at_least("engine.memory", 1 if self.memory is None else self.memory, 1)
        one_of("engine.precision", self.precision, get_args(Precision))

    @property
    def rows(self) -> int:
        """The tile of what is tried nowhere: products, services, samples."""
        return _USUAL if self.tile == "auto" else self.tile


def row_key(seed: Key, high: UInt32[Array, ""], low: UInt32[Array, ""]) -> Key:
    """The key of one row: a function of (seed, id), the id split into two halves."""
    return jax.random.fold_in(jax.random.fold_in(seed, high), low)


def program(
    signal: Signal, fixed: Any, mesh: Mesh, numbers: int, precision: Precision
) -> Callable[..., jax.Array]:
    """The signal on a tile of images, spread over the devices.

    Args:
      signal: what to measure.
      fixed: the model, where it is no argument of the program.
      mesh: of devices.
      numbers: how many the network has.
      precision: of products.
    """

    def row(model, image, conditions, high, low, products, seed):
        model = model if fixed is None else fixed
        seed = jax.random.wrap_key_data(seed)
        query = Query(
            image, conditions, row_key(seed, high, low), jax.random.fold_in(seed, _ALL)
        )
        with reading_at(precision):
            reading = signal(model, query, products)
        return Reading(*reading).flat()

    per_device = jax.vmap(row, in_axes=(None, 0, 0, 0, 0, 0, None))
    spread = jax.shard_map(
        per_device,
        mesh=mesh,
        in_specs=(P(), *[P("data")] * 5, P()),
        out_specs=P("data"),
        check_vma=False,
    )
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    shardings = (whole, *[rows] * 5, whole)
    options = {"rounded": precision == "bfloat16", "in_shardings": shardings}
    return device.jit(spread, parameters=numbers, **options)


_ALL = 0xA11
"""Folded into the seed's key for the noise that all images share."""


@contextlib.contextmanager
def reading_at(precision: Precision) -> Iterator[None]:
    """What is traced here multiplies so, and what is refused is the signal's own fault:
    other attacks go on."""
    try:
        with device.precisely(precision):
            yield
    except UserError as error:
        raise TaskError(str(error)) from error


def through(
    call: Callable[[Any], jax.Array],
    read: Callable[[Ids], Any],
    ids: Ids,
    size: int,
    seen: Callable[[np.ndarray], None],
) -> np.ndarray:
    """A compiled call on tiles of always `size` rows.

    Args:
      call: from what `read` gave of a tile to an array [size, ...], not yet there.
      read: from ids to a tree of arrays, one row for each.
      ids: [n]; the last is repeated to fill the last tile, and the copies dropped.
      size: of a tile: other sizes could change bits.
      seen: told each tile's values [<= size, ...] once they are there.

    Returns:
      The values [n, ...].
    """
    afar = jax.default_backend() != "cpu"

    def begun() -> Iterator[tuple[jax.Array, int, int]]:
        for given, count, depth in _tiles(read, ids, size):
            value = call(given)
            if afar:
                value.copy_to_host_async()
            yield value, count, depth

    return fetched(begun(), seen)


def _tiles(
    read: Callable[[Ids], Any], ids: Ids, size: int
) -> Iterator[tuple[Any, int, int]]:
    """What each tile is made of, how many rows of it count, how many may wait."""
    start, depth = 0, 1
    while start < len(ids):
        block = ids[start : start + depth * size]
        fill = np.repeat(block[-1:], -len(block) % size)
        leaves, tree = jax.tree.flatten(read(np.concatenate([block, fill])))
        leaves = [np.asarray(leaf) for leaf in leaves]
        tile = sum(leaf[:size].nbytes for leaf in leaves)
        depth = max(1, min(IN_FLIGHT, AHEAD_BYTES // max(tile, 1)))
        for first in range(0, len(block), size):
            rows = slice(first, first + size)
            given = tree.unflatten([leaf[rows] for leaf in leaves])
            yield given, min(size, len(block) - first), depth
        start += len(block)


class Teller:
    """Tells progress of rows now and then: of every small tile would cost more.

    Args:
      advance: whom it tells.
      figure: name of a figure that is shown, and its column; None for none.
    """

    def __init__(self, advance: Advance, figure: tuple[str, int] | None) -> None:
        self._advance, self._figure = advance, figure
        self._rows, self._told, self._last = 0, 0.0, np.zeros((0, 0))

    def __call__(self, values: np.ndarray) -> None:
        """So many rows more are there."""
        self._rows, self._last = self._rows + len(values), values
        if time.monotonic() - self._told > TOLD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Tell of all that was not told of yet."""
        if not self._rows:
            return
        figures = {}
        if self._figure is not None:
            name, column = self._figure
            figures[name] = f"{float(self._last[:, column].mean()):,.0f} an image"
        self._advance(self._rows, **figures)
        self._rows, self._told = 0, time.monotonic()


def fastest(
    sizes: Sequence[int], prepared: Callable[[int], Callable[[], Any]], what: str
) -> int:
    """The tile size of the least time a row, by trying each; smaller ones at par.

    A size that does not fit the memory, or is slower than the one before, ends the
    trial.

    Args:
      sizes: ascending, at least one.
      prepared: from a size to a call of one tile, which waits for it.
      what: is computed: the same in one process is tried once.
    """
    what = f"{what} {sizes}"
    if what not in _CHOSEN:
        seconds = _seconds(sizes, prepared)
        enough = _WORTH * min(seconds.values())
        _CHOSEN[what] = next(n for n in sizes if seconds.get(n, enough) <= enough)
    return _CHOSEN[what]


_CHOSEN: dict[str, int] = {}


def _seconds(
    sizes: Sequence[int], prepared: Callable[[int], Callable[[], Any]]
) -> dict[int, float]:
    """Of a row, by the sizes that were tried."""
    seconds: dict[int, float] = {}
    for size in sizes:
        try:
            call = prepared(size)
            call()  # compiles
            seconds[size] = min(_timed(call) for _ in range(_CALLS)) / size
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error) or not seconds:
                raise
            break
        if seconds[size] > _WORTH * min(seconds.values()):
            break
    return seconds


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
