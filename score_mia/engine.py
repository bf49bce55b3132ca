"""`collect`: a signal read off a model for every image, on every device of every host.

Images are computed in tiles of a fixed number of rows per device, so that order, cut,
resumption and device count cannot change a result (the row law, docs/architecture.md).
`rows.compute` keeps the parts; here is what computes one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Float, Int

from score_mia import device, profiling, tiles
from score_mia.arrays import hashed
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    AnySignal,
    Columns,
    Elsewhere,
    HostQuery,
    HostSignal,
    Product,
    Signal,
    fingerprint,
    identity,
)
from score_mia.check import Damaged, UserError, printable, require
from score_mia.files import load_sealed
from score_mia.hosts import ALONE, Host, TaskError
from score_mia.readings import Piece, Readings
from score_mia.rows import (
    Advance,
    Ids,
    Shards,
    Words,
    compute,
    folder_of,
    is_whole,
)
from score_mia.sampling.served import Service
from score_mia.storage import locate
from score_mia.target import Target
from score_mia.tiles import Engine, reading_at
from score_mia.tiles import program as _program
from score_mia.views import (
    Foreseeing,
    Images,
    Model,
    Named,
    Prompts,
    unprompted,
    untold,
    view,
)


def row_seeds(seed: int, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """A seed in [0, 2^31) for each id, for who takes no JAX key."""
    return (hashed(ids, 1 + seed) >> np.uint64(33)).astype(np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
    """A signal to be read off a model, and all that decides its numbers: a row task.

    Attributes:
      name: of the signal.
      signal: what to measure.
      model: on which model.
      source: where the images come from.
      seed: of the audit; a row's noise is keyed by (seed, id).
      engine: tile, shard and device count.
      made_of: further facts that identify the result, above all the target's digest.
      conditions: from ids to what the model is told of each image.
      prompts: from ids to what a service is asked for; None for one that takes none.
      service: how a model of one's own is met by who has no network.
      products: rows of what the signal needs, in its order.
    """

    name: str
    signal: AnySignal
    model: Model
    source: Images
    seed: int
    engine: Engine = dataclasses.field(default_factory=Engine)
    made_of: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    conditions: Named = untold
    prompts: Prompts = unprompted
    service: Service | None = None
    products: tuple[Shards, ...] = ()

    @property
    def words(self) -> Words:
        """How messages speak of it."""
        return Words(self.name, "signals", "choose another --workdir")

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the numbers; kept in the manifest."""
        needs = self.signal.needs
        further = {"needs": [identity(product) for product in needs]} if needs else {}
        access = (self.signal.access, *(product.access for product in needs))
        facts = {"signal": identity(self.signal), **self.setting(*access), **further}
        undecided = {"tile": "auto"} if self.undecided else {}
        return {**facts, **undecided, **fingerprint(self.signal)}

    def setting(self, *access: Access) -> dict[str, Any]:
        """What decides all that is read off the model with such access."""
        own, precision = isinstance(self.model, Target), self.engine.precision
        served = own and {"samples", "observed"} & {*access}
        usual = precision == "float32" or not own or {*access} == {"none"}
        return {
            "source": self.source.digest,
            "seed": self.seed,
            "tile": self.tile,
            **self.made_of,
            **({"service": repr(self.service)} if served else {}),
            **({} if usual else {"precision": precision}),
        }

    @property
    def device(self) -> str:
        """On what it computes."""
        return device.name()

    @functools.cached_property
    def tile(self) -> int:
        """Rows per device and call: the engine's, or what its memory allows."""
        return self.fitting(self.engine.rows)

    @property
    def undecided(self) -> bool:
        """Whether its tile is still to be chosen, by trying (`decided`)."""
        return self.engine.tile == "auto" and not isinstance(self.signal, HostSignal)

    def fitting(self, rows: int) -> int:
        """So many rows, or what the engine's memory allows."""
        row, memory = self.columns.bytes_per_row, self.engine.memory
        if row is None or memory is None:
            return rows
        return max(1, min(rows, memory // row))

    @property
    def shard(self) -> int:
        """Rows per file: whole tiles."""
        return -(-self.engine.shard // self.tile) * self.tile

    @functools.cached_property
    def view(self) -> Any:
        """The model as the signal may see it."""
        how = self.engine.precision
        return view(self.model, self.signal.access, self.service, how)

    @functools.cached_property
    def columns(self) -> Columns:
        """What is measured.

        Raises:
          UserError: the signal names no columns, or such as cannot be told apart.
        """
        columns = self.signal.columns(self.view)
        names = columns.names
        ok = isinstance(names, tuple) and len(names) > 0
        ok = ok and all(isinstance(c, str) and c and printable(c) == c for c in names)
        require(
            ok and len(set(names)) == len(names),
            f"signal {self.name!r}",
            f"names its columns {names!r}",
            "let `columns` give a tuple of distinct, printable texts, at least one",
        )
        return columns

    def __call__(self, ids: Ids, advance: Advance) -> dict[str, np.ndarray]:
        """Values [n, K] and diagnostics [n, D] of some images."""
        (only,) = self._stream([ids], advance)
        return only

    def stream(
        self, parts: Sequence[np.ndarray], advance: Advance
    ) -> Iterator[dict[str, np.ndarray]]:
        """Values [n, K] and diagnostics [n, D] of the images of each part."""
        if isinstance(self.source, Foreseeing) and len(parts) > 1:
            self.source.expect(np.concatenate(parts))
        return self._stream(parts, advance)

    def _stream(self, parts: Sequence[np.ndarray], advance: Advance) -> Iterator[dict]:
        width = len(self.columns.names)
        figure = None
        if NETWORK_EVALUATIONS in self.columns.diagnostics:
            place = self.columns.diagnostics.index(NETWORK_EVALUATIONS)
            figure = ("evaluations", width + place)
        tell = tiles.Teller(advance, figure)

        def seen(values: np.ndarray) -> np.ndarray:
            profiling.tick(self.name, values)
            self._check_width(values)
            tell(values)
            return values

        for values in tiles.by_part(map(seen, self._rows(parts)), map(len, parts)):
            tell.flush()
            yield {"values": values[:, :width], "diagnostics": values[:, width:]}

    def _rows(self, parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Blocks of rows, in the order of the parts."""
        if isinstance(self.signal, HostSignal):
            for ids in parts:
                needed = self._needed(ids)
                for block in self.blocks(ids):
                    yield self._batch(block, needed(block))
            return

        def opened(ids: Ids) -> Callable[[Ids], Any]:
            needed = self._needed(ids)
            return lambda block: (*self.given(block), needed(block))

        yield from tiles.through(self._call, opened, parts, self.tile, self._mesh.size)

    def _needed(self, ids: Ids) -> Callable[[Ids], tuple[dict[str, np.ndarray], ...]]:
        """Rows of the products, of some of these ids."""
        made = tuple({n: p.take(n, ids) for n in p.names} for p in self.products)

        def needed(block: Ids) -> tuple[dict[str, np.ndarray], ...]:
            places = np.searchsorted(ids, block) if made else block
            return jax.tree.map(lambda a: a[places], made)

        return needed

    def with_tile(self, ids: Ids, folder: str | Path, host: Host) -> Reader:
        """With a tile of its own, if that is still to be chosen.

        What the folder's manifest says; else, on the first host, what is the fastest of
        some sizes on the first images. The other hosts wait for that.
        """
        path = locate(folder) / "manifest.json"

        def there() -> bool:
            host.require_no_failure(path.parent)
            return path.exists()

        if not self.undecided:
            return self
        if not host.first:
            host.wait_for(f"the tile of {self.name}", there)
        if path.exists():
            remedy = "delete that folder and run again"
            tile = load_sealed(path, {"tile": int}, remedy=remedy)["tile"]
        else:
            with host.telling(path.parent):
                tile = self._tried(np.sort(ids)[: max(tiles.SIZES) * self._mesh.size])
        how = dataclasses.replace(self.engine, tile=tile, memory=None)
        return dataclasses.replace(self, engine=how)

    def _tried(self, ids: Ids) -> int:
        """The fastest tile; tried once for all models of one shape."""
        width = self._mesh.size
        fitting = {self.fitting(n) for n in tiles.SIZES if n * width <= len(ids)}
        sizes = sorted(fitting or {self.tile})

        def prepared(size: int) -> Callable[[], Any]:
            block = ids[: size * width]
            block = np.pad(block, (0, size * width - len(block)), "edge")
            given = (*self.given(block), self._needed(block)(block))
            return lambda: self._call(given).block_until_ready()

        images = self.source.images(ids[:1])
        shapes = jax.tree.map(np.shape, (images, self._arrays))
        what = f"{identity(self.signal)} {fingerprint(self.signal)} {shapes} {width}"
        return tiles.fastest(sizes, prepared, what)

    @functools.cached_property
    def _mesh(self) -> Mesh:
        return device.mesh(self.engine.devices)

    @functools.cached_property
    def _arrays(self) -> Any:
        """The view as a program's argument; None of what gives images alone."""
        return self.view if self.signal.access in ("scores", "gradients") else None

    @functools.cached_property
    def _call(self) -> Callable[[Any], jax.Array]:
        """From what `given` and products say of a tile to its rows, on their way."""
        assert isinstance(self.signal, Signal)
        fixed = self.view if self._arrays is None else None
        program = _program(
            self.signal,
            fixed,
            self._mesh,
            device.size(self._arrays),
            self.engine.precision,
        )
        # Put on every device once, not with every tile.
        whole = NamedSharding(self._mesh, P())
        key = jax.random.key_data(jax.random.key(self.seed))
        model, key = jax.device_put((self._arrays, key), whole)
        return lambda given: program(model, *given, key)

    def given(self, ids: Ids) -> tuple[Any, ...]:
        """Images, what the model is told of them, and both halves of their ids."""
        images = np.asarray(self.source.images(ids), np.float32)
        high = (ids >> 32).astype(np.uint32)
        return images, self.conditions(ids), high, ids.astype(np.uint32)

    def blocks(self, ids: Ids) -> list[np.ndarray]:
        """Ids of the calls on the host: none is asked twice, since it may cost."""
        tile = self.tile
        return [ids[i : i + tile] for i in range(0, len(ids), tile)]

    def query(self, ids: Ids) -> HostQuery:
        """Some images, as the host is asked about them."""
        images = np.asarray(self.source.images(ids), np.float32)
        return HostQuery(images, self.prompts(ids), ids, row_seeds(self.seed, ids))

    def _batch(
        self,
        ids: np.ndarray,
        products: tuple[Mapping[str, np.ndarray], ...],
    ) -> Float[np.ndarray, "n k"]:
        """A batch of a signal on the host."""
        assert isinstance(self.signal, HostSignal)
        query = self.query(ids)
        with reading_at(self.engine.precision):
            reading = self.signal.batch(self.view, query, products)
        parts = (np.asarray(part, np.float32) for part in reading)
        rows = [part.reshape(len(ids), -1) for part in parts if part.size]
        return np.concatenate(rows, axis=1)

    def _check_width(self, values: np.ndarray) -> None:
        names, further = len(self.columns.names), len(self.columns.diagnostics)
        if values.ndim != 2 or values.shape[1] != names + further:
            raise TaskError(
                f"signal {type(self.signal).__name__}: returned {values.shape[1:]} "
                f"numbers a row for {names} names and {further} diagnostics; let it "
                "return one number per name and one per diagnostic"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Making:
    """A product of every image, for whatever signals need it: a row task.

    Attributes:
      product: what to make.
      reader: of one of these signals, whose model and images it is made of.
      other: of what is to be read off another model, once that is there (`ready`).
    """

    product: Product
    reader: Reader
    other: Reader | None = None

    @property
    def words(self) -> Words:
        """How messages speak of it."""
        name = type(self.product).__name__.lower()
        return Words(name, "products", "choose another --workdir")

    @property
    def facts(self) -> dict[str, Any]:
        """What decides it; kept in the manifest."""
        product, reader = self.product, self.reader
        if isinstance(product, Elsewhere):
            return self._like(product).facts
        facts = {"product": identity(product), **reader.setting(product.access)}
        if product.access == "none":  # the model under attack has no part in it
            facts = {k: v for k, v in facts.items() if k not in reader.made_of}
        return {**facts, **fingerprint(product)}

    def _like(self, product: Elsewhere) -> Reader:
        """Reads its signal of the same images, with the same keys and conditions."""
        reader = dataclasses.replace(self.reader, signal=product.signal, products=())
        # Its own tile, whatever the other model would need: it is part of the facts.
        how = dataclasses.replace(reader.engine, tile=reader.tile, memory=None)
        of = {**reader.made_of, "target": product.fingerprint()}
        return dataclasses.replace(reader, engine=how, made_of=of)

    def ready(self, ids: Ids, root: Path, host: Host) -> Making:
        """With the other model read, and what its signal needs made, if there is one.

        Raises:
          UserError: it is not there, or the signal measures something else of it.
        """
        if not isinstance(self.product, Elsewhere):
            return self
        here = self._like(self.product)
        there = dataclasses.replace(here, model=self.product.model())
        same = there.columns.names == here.columns.names
        problem = f"of the model in {self.product.folder} has other columns"
        remedy = "give a model of the same process and the same layers"
        require(same, f"signal {here.name!r}", problem, remedy)
        needs = (Making(each, there) for each in there.signal.needs)
        made = tuple(make_product(task, ids, root, host) for task in needs)
        other = dataclasses.replace(there, products=made)
        return dataclasses.replace(self, other=other)

    @property
    def device(self) -> str:
        """On what it is made."""
        return device.name()

    def __call__(self, ids: Ids, advance: Advance) -> dict[str, np.ndarray]:
        """The product's arrays [n, ...] of some images."""
        if self.other is not None:
            return self.other(ids, advance)
        reader, made = self.reader, []
        how = reader.engine.precision
        model = view(reader.model, self.product.access, reader.service, how)
        for block in reader.blocks(ids):
            query = reader.query(block)
            with reading_at(how):
                made.append(self.product.batch(model, query))
            advance(len(block))
        return {n: np.concatenate([block[n] for block in made]) for n in made[0]}


def collect(
    reader: Reader,
    ids: Int[np.ndarray, " n"],
    folder: str | Path,
    host: Host = ALONE,
    products: Path | None = None,
) -> Readings:
    """Read a signal off a model for every image; finished parts are reused.

    Args:
      reader: what to read, and off what.
      ids: which images [N], in any order, each once.
      folder: where parts and the manifest are kept.
      host: which of several processes this is.
      products: where what signals need is kept, each thing under its name and what
        decides it, so that they share it; None for a place in `folder`.

    Returns:
      The readings of all N rows, sorted by id, without labels; they stay in their
      files until they are asked for.

    Raises:
      UserError: the folder holds another run's parts, or a damaged one.
    """
    if reader.signal.needs and not is_whole(folder):
        root = products or locate(folder) / "products"
        needs = (Making(product, reader) for product in reader.signal.needs)
        made = tuple(make_product(task, ids, root, host) for task in needs)
        reader = dataclasses.replace(reader, products=made)
    reader = reader.with_tile(ids, folder, host)
    shards = compute(reader, ids, folder, shard=reader.shard, host=host)
    return readings(shards, reader.columns)


def make_product(
    making: Making, ids: Int[np.ndarray, " n"], root: Path, host: Host = ALONE
) -> Shards:
    """A product of every image, in a folder of its own; finished parts are reused.

    Args:
      making: what is made, and of what.
      ids: which images.
      root: where products are kept, each under its name and what decides it.
      host: which of several processes this is.
    """
    place = folder_of(making, np.sort(ids), root)
    if not is_whole(place):
        making = making.ready(ids, root, host)
    return compute(making, ids, place, shard=making.reader.shard, host=host)


def readings(shards: Shards, columns: Columns) -> Readings:
    """Kept rows of a signal, to be read piece by piece."""
    further = None
    if columns.diagnostics:
        pieces = _pieces(shards, "diagnostics")
        further = Readings(shards.ids, columns.diagnostics, pieces)
    pieces = _pieces(shards, "values")
    return Readings(shards.ids, columns.names, pieces, None, further)


def _pieces(shards: Shards, name: str) -> tuple[Piece, ...]:
    def piece(part: int) -> Piece:
        def read(places: Any) -> np.ndarray:
            try:
                return shards.read(part, name)[name][:, list(places)]
            except UserError as error:
                raise Damaged(str(error)) from error

        return Piece(len(shards.of(part)), read)

    return tuple(map(piece, shards.parts))
