"""`collect`: a signal read off a model for every image, on every device of every host.

Images are computed in tiles of a fixed number of rows per device, so that order, cut,
resumption and device count cannot change a result (the row law, docs/architecture.md).
`rows.compute` keeps the parts; here is what computes one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float, Int, UInt32

from score_mia import device
from score_mia.arrays import Key, hashed
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    AnySignal,
    Columns,
    Elsewhere,
    HostQuery,
    HostSignal,
    Product,
    Query,
    Reading,
    Signal,
    fingerprint,
    identity,
)
from score_mia.check import Damaged, UserError, at_least, printable, require
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
    tiled,
)
from score_mia.sampling.served import Service
from score_mia.storage import locate
from score_mia.target import Target
from score_mia.views import Images, Model, Named, Prompts, unprompted, untold, view


@dataclasses.dataclass(frozen=True)
class Engine:
    """How to compute, never what.

    Attributes:
      tile: rows per device and call. Part of the result's identity at 1e-5 relative
        (XLA picks other kernels for other sizes), so it is recorded and kept.
      shard: rows per file, the unit of resumption; rounded up to whole tiles.
      devices: how many local devices to use, None for all.
      memory: bytes of a device that a tile may take; a signal that tells what a row
        needs (`Columns.bytes_per_row`) gets a smaller one where it must; None for none.
    """

    tile: int = 16
    shard: int = 256
    devices: int | None = None
    memory: int | None = None

    def __post_init__(self) -> None:
        at_least("engine.tile", self.tile, 1)
        at_least("engine.shard", self.shard, 1)
        at_least("engine.memory", 1 if self.memory is None else self.memory, 1)


def row_key(seed: Key, high: UInt32[Array, ""], low: UInt32[Array, ""]) -> Key:
    """The key of one row: a function of (seed, id), the id split into two halves."""
    return jax.random.fold_in(jax.random.fold_in(seed, high), low)


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
    engine: Engine = Engine()
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
        return {**facts, **fingerprint(self.signal)}

    def setting(self, *access: Access) -> dict[str, Any]:
        """What decides all that is read off the model with such access."""
        served = isinstance(self.model, Target) and {"samples", "observed"} & {*access}
        return {
            "source": self.source.digest,
            "seed": self.seed,
            "tile": self.tile,
            **self.made_of,
            **({"service": repr(self.service)} if served else {}),
        }

    @property
    def device(self) -> str:
        """On what it computes."""
        return device.name()

    @functools.cached_property
    def tile(self) -> int:
        """Rows per device and call: the engine's, or what its memory allows."""
        row, memory = self.columns.bytes_per_row, self.engine.memory
        if row is None or memory is None:
            return self.engine.tile
        return max(1, min(self.engine.tile, memory // row))

    @property
    def shard(self) -> int:
        """Rows per file: whole tiles."""
        return -(-self.engine.shard // self.tile) * self.tile

    @functools.cached_property
    def view(self) -> Any:
        """The model as the signal may see it."""
        return view(self.model, self.signal.access, self.service)

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
        width = len(self.columns.names)

        def seen(values: np.ndarray) -> None:
            self._check_width(values)
            figures = {}
            if NETWORK_EVALUATIONS in self.columns.diagnostics:
                place = self.columns.diagnostics.index(NETWORK_EVALUATIONS)
                each = float(values[:, width + place].mean())
                figures["evaluations"] = f"{each:,.0f} an image"
            advance(len(values), **figures)

        made = tuple({n: p.take(n, ids) for n in p.names} for p in self.products)

        def needed(block: Ids) -> tuple[dict[str, np.ndarray], ...]:
            return jax.tree.map(lambda a: a[np.searchsorted(ids, block)], made)

        def call(block: Ids) -> Any:
            return self._dispatch(block, needed(block))

        if isinstance(self.signal, HostSignal):
            blocks = self.blocks(ids)
            values = [self._batch(block, needed(block), seen) for block in blocks]
            values = np.concatenate(values)
        else:
            values = tiled(call, ids, self.tile * self._mesh.size, seen)
        return {"values": values[:, :width], "diagnostics": values[:, width:]}

    @functools.cached_property
    def _mesh(self) -> Mesh:
        return device.mesh(self.engine.devices)

    @functools.cached_property
    def _arrays(self) -> Any:
        """The view as a program's argument; None of what gives images alone."""
        return self.view if self.signal.access in ("scores", "gradients") else None

    @functools.cached_property
    def _program(self) -> Callable[..., jax.Array]:
        assert isinstance(self.signal, Signal)
        fixed = self.view if self._arrays is None else None
        return _program(self.signal, fixed, self._mesh, device.size(self._arrays))

    def _dispatch(
        self, ids: np.ndarray, products: tuple[Mapping[str, np.ndarray], ...]
    ) -> jax.Array:
        """A tile of a traced signal, on its way."""
        high = (ids >> 32).astype(np.uint32)
        low = (ids & 0xFFFFFFFF).astype(np.uint32)
        images = jnp.asarray(self.source.images(ids), jnp.float32)
        conditions = jax.tree.map(jnp.asarray, self.conditions(ids))
        key = jax.random.key(self.seed)
        given = (images, conditions, products, high, low)
        return self._program(self._arrays, *given, key)

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
        seen: Callable[[np.ndarray], None],
    ) -> Float[np.ndarray, "n k"]:
        """A batch of a signal on the host."""
        assert isinstance(self.signal, HostSignal)
        query = self.query(ids)
        with _at_fault():
            reading = self.signal.batch(self.view, query, products)
        parts = (np.asarray(part, np.float32) for part in reading)
        rows = [part.reshape(len(ids), -1) for part in parts if part.size]
        values = np.concatenate(rows, axis=1)
        seen(values)
        return values

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
        model = view(reader.model, self.product.access, reader.service)
        for block in reader.blocks(ids):
            query = reader.query(block)
            with _at_fault():
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


@contextlib.contextmanager
def _at_fault() -> Iterator[None]:
    """Whatever a signal or a product refuses is its own fault: other attacks go on."""
    try:
        yield
    except UserError as error:
        raise TaskError(str(error)) from error


def _pieces(shards: Shards, name: str) -> tuple[Piece, ...]:
    def piece(part: int) -> Piece:
        def read(places: Any) -> np.ndarray:
            try:
                return shards.read(part, name)[name][:, list(places)]
            except UserError as error:
                raise Damaged(str(error)) from error

        return Piece(len(shards.of(part)), read)

    return tuple(map(piece, shards.parts))


def _program(
    signal: Signal, fixed: Any, mesh: Mesh, numbers: int
) -> Callable[..., jax.Array]:
    """The signal on a tile of images, spread over the devices.

    Args:
      signal: what to measure.
      fixed: the model, where it is no argument of the program.
      mesh: of devices.
      numbers: how many the network has.
    """

    def row(model, image, conditions, products, high, low, seed):
        model = model if fixed is None else fixed
        query = Query(
            image, conditions, row_key(seed, high, low), jax.random.fold_in(seed, _ALL)
        )
        with _at_fault():
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
    return device.jit(spread, parameters=numbers)


_ALL = 0xA11
"""Folded into the seed's key for the noise that all images share."""
