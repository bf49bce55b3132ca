"""`collect`: a signal for every image, on every device of every host, resumable.

Images are computed in tiles of a fixed number of rows per device, so that order, cut,
resumption and device count cannot change a result (the row law, docs/architecture.md).
Finished shards are files; a killed run continues with the first missing one.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Int, UInt32

from score_mia import device
from score_mia.arrays import Key
from score_mia.attacks.protocol import Signal
from score_mia.check import UserError, at_least, require
from score_mia.conditions import OWN, Conditions
from score_mia.files import AGAIN, digest, keep_manifest, load_sealed, save_sealed
from score_mia.progress import Progress
from score_mia.signals import Signals, concat
from score_mia.target import Target

NETWORK_EVALUATIONS = "network_evaluations"
"""The diagnostic that counts as an attack's cost."""


@runtime_checkable
class Images(Protocol):
    """What the engine needs of a data source: images by id."""

    @property
    def digest(self) -> str: ...

    def images(self, ids: np.ndarray) -> np.ndarray: ...


Named = Callable[[Int[np.ndarray, " n"]], Conditions]
"""From ids to what a conditional model is told of each image, by name."""


def untold(ids: Int[np.ndarray, " n"]) -> Conditions:
    """What a model is told that takes no condition."""
    del ids
    return {}


@dataclasses.dataclass(frozen=True)
class Engine:
    """How to compute, never what.

    Attributes:
      tile: rows per device and call. Part of the result's identity at 1e-5 relative
        (XLA picks other kernels for other sizes), so it is recorded and kept.
      shard: rows per file, the unit of resumption; rounded up to whole tiles.
      devices: how many local devices to use, None for all.
    """

    tile: int = 16
    shard: int = 256
    devices: int | None = None

    def __post_init__(self) -> None:
        at_least("engine.tile", self.tile, 1)
        at_least("engine.shard", self.shard, 1)


def row_key(seed: Key, high: UInt32[Array, ""], low: UInt32[Array, ""]) -> Key:
    """The key of one row: a function of (seed, id), the id split into two halves."""
    return jax.random.fold_in(jax.random.fold_in(seed, high), low)


def collect(
    signal: Signal,
    target: Target,
    source: Images,
    ids: Int[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    seed: int,
    *,
    folder: str | Path,
    engine: Engine = Engine(),
    provenance: Mapping[str, Any] | None = None,
    conditions: Named = untold,
    label: str = "signals",
) -> Signals:
    """Read `signal` off `target` for every image; finished shards are reused.

    Args:
      signal: what to measure.
      target: on which model.
      source: where the images come from.
      ids: which images [N], in any order, each once.
      member: [N] whether each was in the training set; never read from shards.
      seed: of the audit; row noise is keyed by (seed, id).
      folder: where shards and the manifest are kept.
      engine: tile, shard and device count.
      provenance: further facts that identify the result, e.g. the target's digest.
      conditions: from ids to what a conditional model is told of each image.
      label: name shown with the progress.

    Returns:
      The record of all N rows, sorted by id.

    Raises:
      UserError: the folder holds another run's shards, or a damaged one.
    """
    folder = Path(folder)
    order = np.argsort(ids, kind="stable")
    ids, member = np.asarray(ids, np.int64)[order], np.asarray(member, bool)[order]
    require(len(ids) > 0, label, "there are no images", "give a non-empty split")
    facts = {**signal_facts(signal, source, seed, engine), **(provenance or {})}
    names = signal.names(target.sde)
    shard = _shard(folder, engine)
    parts = _parts(len(ids), shard)
    told = {**facts, "rows": len(ids), "parts": len(parts), "shard": shard}
    first = jax.process_index() == 0
    keep_manifest(folder, "signals", told, write=first, remedy=_RENAME)
    paths = [folder / part_name(k, len(parts)) for k in range(len(parts))]
    mine = range(jax.process_index(), len(parts), jax.process_count())
    missing = [k for k in mine if not paths[k].exists()]
    done = sum(len(parts[k]) for k in mine) - sum(len(parts[k]) for k in missing)
    total = sum(len(parts[k]) for k in mine)
    with Progress(label, total, "images", done) as progress:
        run = None
        if missing:
            run = _Run(signal, target, source, seed, engine, progress, conditions)
        for k in missing:
            assert run is not None
            start = time.perf_counter()
            rows = parts[k]
            values = run.rows(ids[rows], len(names))
            part = Signals.of(
                values[:, : len(names)],
                member[rows],
                ids[rows],
                names,
                values[:, len(names) :],
                signal.diagnostics,
                facts,
            )
            part.save(paths[k])
            _add_seconds(folder, time.perf_counter() - start)
    _wait_for_other_hosts()
    found = [
        _load_part(p, ids[parts[k]], ids[member], names, facts)
        for k, p in enumerate(paths)
    ]
    return concat(found)


def signal_facts(
    signal: Signal, source: Images, seed: int, engine: Engine
) -> dict[str, Any]:
    """What decides a signal's numbers, beside the target; kept in the manifest."""
    name = f"{type(signal).__module__}.{type(signal).__qualname__}"
    return {
        "signal": f"{name}{_fields(signal)}",
        "source": source.digest,
        "seed": seed,
        "tile": engine.tile,
    }


def require_same_signals(
    folder: str | Path, rows: int, facts: Mapping[str, Any]
) -> None:
    """Refuse a folder whose signals are others, as `collect` will; nothing is written.

    Args:
      folder: where an attack's signals are kept, if there are any.
      rows: how many images there are now.
      facts: those of `signal_facts`.
    """
    path = Path(folder) / "manifest.json"
    if path.exists():
        now = {**load_sealed(path), "rows": rows, **facts}
        keep_manifest(folder, "signals", now, write=False, remedy=_RENAME)


_RENAME = "give the new attack another name"


def _shard(folder: Path, engine: Engine) -> int:
    """Rows a file: those that a folder was begun with, else the engine's.

    Whole tiles: a row has the same place in its tile however the rows are cut.
    """
    path = folder / "manifest.json"
    if path.exists():
        return load_sealed(path, {"shard": int})["shard"]
    return -(-engine.shard // engine.tile) * engine.tile


def seconds(folder: str | Path) -> float:
    """Time that computing the shards of a folder took, over all starts and hosts."""
    return sum(_spent(p)["seconds"] for p in sorted(Path(folder).glob(_SPENT)))


def devices(folder: str | Path) -> list[str]:
    """On what the shards of a folder were computed, over all starts and hosts."""
    paths = Path(folder).glob(_SPENT)
    return sorted({name for path in paths for name in _spent(path)["devices"]})


def is_whole(folder: str | Path) -> bool:
    """Whether every shard that the manifest of a folder speaks of is there."""
    path = Path(folder) / "manifest.json"
    if not path.exists():
        return False
    count = load_sealed(path, {"parts": int})["parts"]
    return all((path.parent / part_name(k, count)).exists() for k in range(count))


_SPENT = "seconds-*.json"


def _spent(path: Path) -> dict[str, Any]:
    remedy = "delete it and run again: only the time that was spent is then not known"
    return load_sealed(path, {"seconds": float, "devices": [str]}, remedy=remedy)


def part_name(index: int, count: int) -> str:
    """File name of a shard, e.g. part-00003-of-00016.npz."""
    return f"part-{index:05d}-of-{count:05d}.npz"


def non_finite(signals: Signals) -> np.ndarray:
    """Ids of the rows whose values are not all finite."""
    return signals.ids[~np.isfinite(signals.values).all(axis=1)]


class SignalError(UserError):
    """The signal itself is at fault: no file, and no other attack, is concerned."""


class _Run:
    """The one compiled program of a run, fed tile by tile."""

    def __init__(
        self,
        signal: Signal,
        target: Target,
        source: Images,
        seed: int,
        engine: Engine,
        progress: Progress,
        conditions: Named,
    ) -> None:
        mesh = device.mesh(engine.devices)
        self._signal, self._target, self._source = signal, target, source
        self._conditions = conditions
        self._key, self._progress = jax.random.key(seed), progress
        self._batch = engine.tile * mesh.size
        self._program = _program(signal, mesh, device.size(target.params))
        self._evaluations = 0.0

    def rows(self, ids: Int[np.ndarray, " n"], names: int) -> np.ndarray:
        """Values [n, K + D] of some images, with one call always in flight."""
        results: list[np.ndarray] = []
        pending: tuple[jax.Array, int] | None = None
        for rows in _parts(len(ids), self._batch):
            call = (self._dispatch(ids[rows]), len(rows))
            if pending is not None:
                results.append(self._fetch(*pending, names))
            pending = call
        if pending is not None:
            results.append(self._fetch(*pending, names))
        return np.concatenate(results)

    def _dispatch(self, ids: np.ndarray) -> jax.Array:
        ids = _pad(ids, self._batch)
        high = (ids >> 32).astype(np.uint32)
        low = (ids & 0xFFFFFFFF).astype(np.uint32)
        images = jnp.asarray(self._source.images(ids), jnp.float32)
        told = jax.tree.map(jnp.asarray, self._conditions(ids))
        return self._program(self._target, images, told, high, low, self._key)

    def _fetch(self, values: jax.Array, count: int, names: int) -> np.ndarray:
        fetched = np.asarray(values)[:count]
        _check_columns(self._signal, fetched, names)
        figures = {}
        if NETWORK_EVALUATIONS in self._signal.diagnostics:
            column = names + self._signal.diagnostics.index(NETWORK_EVALUATIONS)
            self._evaluations += float(fetched[:, column].sum())
            rate = self._evaluations / max(self._progress.elapsed, 1e-9)
            figures["network_evaluations"] = f"{rate:.0f}/s"
        self._progress.advance(count, **figures)
        return fetched


def _program(signal: Signal, mesh: Mesh, parameters: int) -> Callable[..., jax.Array]:
    def row(target, image, conditions, high, low, seed):
        try:
            return signal(target, image, row_key(seed, high, low), conditions.get(OWN))
        except UserError as error:
            raise SignalError(str(error)) from error

    per_device = jax.vmap(row, in_axes=(None, 0, 0, 0, 0, None))
    spread = jax.shard_map(
        per_device,
        mesh=mesh,
        in_specs=(P(), P("data"), P("data"), P("data"), P("data"), P()),
        out_specs=P("data"),
        check_vma=False,
    )
    return device.jit(spread, parameters=parameters)


def _pad(ids: np.ndarray, rows: int) -> np.ndarray:
    """Repeat the last id up to the static number of rows; the copies are dropped."""
    return np.concatenate([ids, np.repeat(ids[-1:], rows - len(ids))])


def _parts(count: int, size: int) -> list[np.ndarray]:
    rows = np.arange(count)
    return [rows[start : start + size] for start in range(0, count, size)]


def _check_columns(signal: Signal, values: np.ndarray, names: int) -> None:
    expected = names + len(signal.diagnostics)
    if values.ndim != 2 or values.shape[1] != expected:
        raise SignalError(
            f"signal {type(signal).__name__}: returned {values.shape[1:]} numbers a "
            f"row for {names} names and {len(signal.diagnostics)} diagnostics; let it "
            "return one number per name, then one per diagnostic"
        )


def _load_part(
    path: Path,
    ids: np.ndarray,
    members: np.ndarray,
    names: tuple[str, ...],
    facts: Mapping[str, Any],
) -> Signals:
    part = Signals.load(path, members)
    same = (
        np.array_equal(part.ids, ids)
        and part.names == tuple(names)
        and dict(part.provenance) == dict(facts)
    )
    require(same, str(path), "holds other rows than planned", AGAIN)
    return part


def _add_seconds(folder: Path, spent: float) -> None:
    path = folder / f"seconds-{jax.process_index():05d}.json"
    before = _spent(path) if path.exists() else {"seconds": 0.0, "devices": []}
    names = sorted({*before["devices"], device.name()})
    save_sealed(path, {"seconds": before["seconds"] + spent, "devices": names})


def _wait_for_other_hosts() -> None:
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices("score_mia.engine.collect")


def _fields(signal: Signal) -> str:
    if not dataclasses.is_dataclass(signal):
        return "()"
    fields = {f.name: getattr(signal, f.name) for f in dataclasses.fields(signal)}
    return json.dumps(fields, sort_keys=True, default=_in_words)


def _in_words(value: Any) -> str:
    """An array by its digest: in words it would lose its middle and its last digits."""
    return digest(np.asarray(value)) if hasattr(value, "__array__") else str(value)
