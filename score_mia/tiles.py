"""Tiles on their way through a device, and how large they should be.

Several are begun before the first is fetched, so that reading, transfers and computing
overlap; what they are made of is read for all of them at once. Nothing here can change
a row: a tile is one call of one program, however many are on their way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from score_mia.rows import Advance, Begun, Ids, fetched

IN_FLIGHT = 16
"""Calls that are begun before the first is fetched, at most."""

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
    opened: Callable[[Ids], Callable[[Ids], Any]],
    parts: Iterable[np.ndarray],
    tile: int,
    devices: int = 1,
) -> Iterator[np.ndarray]:
    """A compiled call on tiles of always `tile` rows, one for each device.

    The tiles of a part are cut from its own rows, and the last is filled: a row has the
    same tile whatever the other parts are, and on however many devices. A call takes
    tiles of several parts where one has not enough, and later parts are begun before
    the first is there.

    Args:
      call: from what is read of the rows to an array [tile * devices, ...], not yet
        there.
      opened: from a part's ids to what reads a tree of arrays of some of them, one row
        for each.
      parts: ids [n] of each; taken when there is room for more.
      tile: rows a device.
      devices: tiles a call.

    Yields:
      The rows that count, call by call, in the order of the parts.
    """
    afar = jax.default_backend() != "cpu"

    def begun() -> Iterator[Begun]:
        for given, counts, depth in _calls(opened, parts, tile, tile * devices):
            value = call(given)
            if afar:
                value.copy_to_host_async()
            yield Begun(value, counts, depth)

    yield from fetched(begun())


def by_part(rows: Iterable[np.ndarray], lengths: Iterable[int]) -> Iterator[np.ndarray]:
    """Rows that come in blocks of any size, cut into parts of these lengths."""
    return (part for (part,) in _cut(([block] for block in rows), lengths))


def _cut(
    blocks: Iterable[list[np.ndarray]], lengths: Iterable[int]
) -> Iterator[list[np.ndarray]]:
    """Arrays of equally many rows, cut into such of these lengths; the last is shorter
    if the blocks end before it."""
    coming = iter(blocks)
    held: list[list[np.ndarray]] = []
    for length in lengths:
        while sum(len(block[0]) for block in held) < length:
            block = next(coming, None)
            if block is None:
                break
            held.append(block)
        if not held:
            return
        # Joined once, and only what came in several blocks.
        whole = held[0]
        if len(held) > 1:
            whole = [np.concatenate(pieces) for pieces in zip(*held, strict=True)]
        yield [array[:length] for array in whole]
        more = len(whole[0]) > length
        held = [[array[length:] for array in whole]] if more else []


def _calls(
    opened: Callable[[Ids], Callable[[Ids], Any]],
    parts: Iterable[np.ndarray],
    tile: int,
    size: int,
) -> Iterator[tuple[Any, np.ndarray, int]]:
    """What each call is made of, which of its rows count, how many may wait."""
    tree, depth = None, 1

    def blocks() -> Iterator[list[np.ndarray]]:
        nonlocal tree, depth
        for ids in parts:
            read, start = opened(ids), 0
            while start < len(ids):
                block = ids[start : start + depth * size]
                fill = np.repeat(block[-1:], -len(block) % tile)
                leaves, tree = jax.tree.flatten(read(np.concatenate([block, fill])))
                counts = np.arange(len(block) + len(fill)) < len(block)
                made = [counts, *map(np.asarray, leaves)]
                a_call = size * sum(array.nbytes for array in made) / len(counts)
                depth = int(max(1, min(IN_FLIGHT, AHEAD_BYTES // a_call)))
                start += len(block)
                yield made

    for counts, *leaves in _cut(blocks(), itertools.repeat(size)):
        if short := size - len(counts):
            counts = np.append(counts, np.zeros(short, bool))
            last = ((leaf, np.repeat(leaf[-1:], short, 0)) for leaf in leaves)
            leaves = [np.concatenate(both) for both in last]
        yield jax.tree.unflatten(tree, leaves), counts, depth


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
