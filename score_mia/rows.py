"""`compute`: the one loop over rows, resumable, in parts, by several hosts.

    folder/manifest.json              what decides the rows, how many, how they are cut
    folder/part-00003-of-00016.npz    a part: ids, arrays, and a digest of what decided
    folder/seconds-00000.json         what one host took for its parts, by device

A row depends on its task and its id alone (the row law, docs/architecture.md). A part
is written whole or not at all; a killed run goes on with the first missing one. Parts
belong to hosts by their number, and equal parts may be computed twice (`hosts`). No JAX
here: a traced task tiles its rows itself, by `tiled`.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from score_mia import files
from score_mia.check import require
from score_mia.hosts import ALONE, Host, TaskError, poll
from score_mia.progress import Progress
from score_mia.storage import locate, there

Ids = Int[np.ndarray, " n"]


@runtime_checkable
class Advance(Protocol):
    """Told by a task how many rows more are done, with figures to show."""

    def __call__(self, count: int, **figures: str) -> None: ...


class Words(NamedTuple):
    """How messages speak of a task.

    Attributes:
      label: shown with the progress: "loss".
      what: what the rows are, in the plural: "signals".
      remedy: what to do about a folder with other rows, instead of deleting it.
      unit: what a row is read off, in the plural.
    """

    label: str
    what: str
    remedy: str = "choose another workdir"
    unit: str = "images"


@runtime_checkable
class Task(Protocol):
    """What is computed for every id; a value.

    Attributes:
      words: how messages speak of it.
      facts: all that decides the numbers, as JSON; parts of other facts are refused.
      device: on what it computes, for the record.
    """

    @property
    def words(self) -> Words: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...

    @property
    def device(self) -> str: ...

    def __call__(self, ids: Ids, advance: Advance) -> dict[str, np.ndarray]:
        """The rows of one part, each array [n, ...], in the order of the ids.

        Raises:
          TaskError: the task is at fault, whatever the machine it runs on.
        """
        ...


@runtime_checkable
class Streamed(Task, Protocol):
    """A task that begins rows of later parts before those of the first are there."""

    def stream(
        self, parts: Sequence[np.ndarray], advance: Advance
    ) -> Iterator[dict[str, np.ndarray]]:
        """What a call gives of each part, in their order.

        What goes wrong with a part is raised after those before it were given.
        """
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Shards:
    """Rows in files, read part by part: never all in memory unless asked for.

    Attributes:
      folder: where they are.
      ids: [N] ascending; of an endless folder the ids that were asked for.
      size: ids of a part.
      count: how many parts there are; None if there may be more and more, one for
        every `size` numbers from 0.
      facts: what decided the rows.
      what: what the rows are, for messages.
    """

    folder: Path
    ids: np.ndarray
    size: int
    count: int | None
    facts: Mapping[str, Any]
    what: str

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def made(self) -> str:
        """Digest of what decided the rows, as each part holds it."""
        return files.json_digest(dict(self.facts))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, read off the first part."""
        arrays = files.load_npz(self.path(self.parts[0]), None)
        return tuple(sorted(arrays.keys() - {"ids", "made"}))

    @property
    def parts(self) -> list[int]:
        """Numbers of the parts in which the ids are."""
        if self.count is not None:
            return list(range(self.count))
        return np.unique(self.ids // self.size).tolist()

    def path(self, part: int) -> Path:
        """The file of a part."""
        return self.folder / part_name(part, self.count)

    def missing(self, parts: Sequence[int]) -> list[int]:
        """Those of the parts whose files are not there: each is asked for by name."""
        found = there(map(self.path, parts))
        return [
            part for part, is_there in zip(parts, found, strict=True) if not is_there
        ]

    def of(self, part: int) -> Ids:
        """All ids of a part."""
        start = part * self.size
        if self.count is None:
            return np.arange(start, start + self.size, dtype=np.int64)
        return self.ids[start : start + self.size]

    def read(self, part: int, *names: str) -> dict[str, np.ndarray]:
        """Ids and the named arrays of one part, of the ids that were asked for.

        Raises:
          UserError: the file is missing, damaged, or holds something else.
        """
        path, ids = self.path(part), self.of(part)
        remedy = f"delete it and run again: only its {self.what} are computed again"
        arrays = files.load_npz(path, ("ids", "made", *names), remedy=remedy)
        require(
            str(arrays.pop("made")) == self.made,
            f"{path}",
            f"holds {self.what} made otherwise than its folder's manifest.json says",
            remedy,
        )
        same = np.array_equal(arrays["ids"], ids)
        same = same and all(a.shape[:1] == ids.shape for a in arrays.values())
        require(same, f"{path}", "holds other rows than planned", remedy)
        if self.count is not None:
            return arrays
        asked = np.isin(ids, self.ids)
        return {name: a[asked] for name, a in arrays.items()}

    def blocks(self, *names: str) -> Iterator[dict[str, np.ndarray]]:
        """Ids and the named arrays, one part after the other."""
        return (self.read(part, *names) for part in self.parts)

    def array(self, name: str) -> np.ndarray:
        """One array of all rows, [N, ...], in memory."""
        return np.concatenate([block[name] for block in self.blocks(name)])

    def take(self, name: str, ids: Ids) -> np.ndarray:
        """One array of some of the ids, [n, ...]; only their parts are read.

        Args:
          name: of the array.
          ids: ascending, all of them among those that were asked for.
        """
        at = ids if self.count is None else np.searchsorted(self.ids, ids)
        blocks = [self.read(part, name) for part in np.unique(at // self.size).tolist()]
        there = np.concatenate([block["ids"] for block in blocks])
        values = np.concatenate([block[name] for block in blocks])
        return values[np.searchsorted(there, ids)]


def compute(
    task: Task,
    ids: Ids,
    folder: str | Path,
    *,
    shard: int,
    host: Host = ALONE,
    endless: bool = False,
) -> Shards:
    """Compute a task's rows; finished parts are reused.

    Args:
      task: what to compute.
      ids: for which ids, in any order, each once.
      folder: where parts and manifest are kept.
      shard: rows a part, if the folder is new: whole tiles, so that a row has the same
        place in its tile however the rows are cut.
      host: which of several processes this is; returns when all parts are there.
      endless: whether any number from 0 is an id, as of samples: parts are then whole
        blocks of numbers, and more may be asked for later.

    Returns:
      The rows, sorted by id.

    Raises:
      UserError: the folder holds other rows, or cannot be written; what the task
        raises; or another host failed at it.
    """
    shards = _planned(task, np.asarray(ids, np.int64), locate(folder), shard, endless)
    missing = shards.missing(shards.parts)
    if not missing:
        return shards
    mine = [k for k in shards.parts if host.owner(k) == host.number]
    own = [k for k in missing if host.owner(k) == host.number]
    rows, left = (sum(len(shards.of(k)) for k in some) for some in (mine, own))
    told = Progress(task.words.label, rows, task.words.unit, rows - left)
    with host.telling(shards.folder), told as progress:
        _fill(task, shards, own, host, progress)
        for part in _lost(shards, missing, host, progress):
            _fill(task, shards, [part], host, progress)
    return shards


def is_whole(folder: str | Path) -> bool:
    """Whether every part that the manifest of a folder speaks of is there."""
    path = locate(folder) / "manifest.json"
    if not path.exists():
        return False
    count = files.load_sealed(path, {"parts": int})["parts"]
    return all(there(path.parent / part_name(k, count) for k in range(count)))


def folder_of(task: Task, ids: Ids, root: Path) -> Path:
    """Where a task's rows are kept: under its name, and what decides them."""
    decided = files.json_digest({**task.facts, "ids": files.digest(ids)})
    return root / f"{task.words.label}-{decided[:12]}"


def part_name(part: int, count: int | None) -> str:
    """File name of a part, e.g. part-00003-of-00016.npz."""
    return f"part-{part:05d}{'' if count is None else f'-of-{count:05d}'}.npz"


def tiled(
    call: Callable[[Ids], Any],
    ids: Ids,
    size: int,
    advance: Callable[[np.ndarray], None] = lambda values: None,
    *,
    full: bool = True,
) -> np.ndarray:
    """A call on blocks of always `size` ids, of which one more is begun than is read.

    Args:
      call: from ids [size] to an array [size, ...], of NumPy or, not yet there, of JAX.
      ids: [n]; the last is repeated to fill the last block, and the copies dropped.
      size: of a block: other sizes could change bits.
      advance: told each block's values [<= size, ...] once they are there.
      full: whether the last block is filled; not where each id costs.

    Returns:
      The values [n, ...].
    """

    def begun() -> Iterator[Begun]:
        for start in range(0, len(ids), size):
            block = ids[start : start + size]
            fill = np.repeat(block[-1:], size - len(block) if full else 0)
            rows = np.arange(len(block) + len(fill)) < len(block)
            yield Begun(call(np.concatenate([block, fill])), rows, 1)

    values = []
    for block in fetched(begun()):
        values.append(block)
        advance(block)
    return np.concatenate(values)


class Begun(NamedTuple):
    """A block of rows that is being computed.

    Attributes:
      values: [m, ...] of NumPy or, not yet there, of JAX.
      counts: [m] which of the rows are no filling.
      depth: how many blocks may wait to be fetched.
    """

    values: Any
    counts: np.ndarray
    depth: int


def fetched(begun: Iterable[Begun]) -> Iterator[np.ndarray]:
    """The rows that count, block by block, while later blocks are on their way.

    What goes wrong with a block is raised after those before it were given.
    """
    waiting: deque[Begun] = deque()
    coming, most, wrong = iter(begun), 1, None
    while most:
        try:
            waiting.append(next(coming))
            most = waiting[-1].depth
        except StopIteration:
            most = 0
        except Exception as error:
            most, wrong = 0, error
        while len(waiting) > most:
            block = waiting.popleft()
            yield np.asarray(block.values)[block.counts]
    if wrong is not None:
        raise wrong


# --- what it took ------------------------------------------------------------------


def seconds(folder: str | Path) -> float:
    """Time that computing the parts of a folder took, over all hosts."""
    return sum(took["seconds"] for _, took in _times(locate(folder)))


def devices(folder: str | Path) -> list[str]:
    """On what the parts of a folder were computed, over all hosts."""
    return sorted({device for device, _ in _times(locate(folder))})


def _times(folder: Path) -> list[tuple[str, dict[str, float]]]:
    paths = sorted(folder.glob("seconds-*.json"))
    return [item for path in paths for item in _spent(path).items()]


def _spent(path: Path) -> dict[str, dict[str, float]]:
    """Seconds and parts of one host, by device; older files have them by part."""
    remedy = "delete it and run again: only the time that was spent is then not known"
    shape = {
        "devices?": {str: {"seconds": float, "parts": int}},
        "parts?": {str: {"seconds": float, "device": str}},
    }
    kept = files.load_sealed(path, shape, remedy=remedy)
    spent = dict(kept.get("devices", {}))
    for took in kept.get("parts", {}).values():
        _add(spent, took["device"], took["seconds"])
    return spent


def _add(spent: dict[str, dict[str, float]], device: str, took: float) -> None:
    """Count a part more."""
    before = spent.get(device, {"seconds": 0.0, "parts": 0})
    spent[device] = {"seconds": before["seconds"] + took, "parts": before["parts"] + 1}


# --- the loop ----------------------------------------------------------------------


def _planned(
    task: Task, ids: np.ndarray, folder: Path, shard: int, endless: bool
) -> Shards:
    """The rows to be, held against the folder's manifest."""
    ids = np.sort(ids)
    require(
        len(ids) > 0, task.words.label, "there are no images", "give a non-empty split"
    )
    twice = bool(np.any(np.diff(ids) == 0))
    require(not twice, task.words.label, "an id is given twice", "give each image once")
    path = folder / "manifest.json"
    if path.exists():
        begun = files.load_sealed(path, {"shard?": int}, remedy=_again(task.words.what))
        shard = begun.get("shard", shard)
    facts = json.loads(json.dumps(dict(task.facts)))
    count = None if endless else -(-len(ids) // shard)
    layout: dict[str, Any] = {"shard": shard}
    if not endless:
        layout |= {"rows": len(ids), "parts": count, "ids": files.digest(ids)}
    files.keep_manifest(
        folder, task.words.what, {**facts, **layout}, remedy=task.words.remedy
    )
    return Shards(folder, ids, shard, count, facts, task.words.what)


def _again(what: str) -> str:
    return f"delete it and run again: {what} whose own seal holds are kept"


def _lost(
    shards: Shards, missing: Sequence[int], host: Host, progress: Progress
) -> Iterator[int]:
    """The parts to compute here beside this host's: those whose owner has gone."""
    said: set[str] = set()

    def say(text: str) -> None:
        if text not in said:
            progress.note(text)
        said.add(text)

    while missing := shards.missing(missing):
        owners = {host.owner(k) for k in missing} - {host.number}
        living = {owner for owner in owners if host.holder(owner) is not None}
        # Only now: who has gone has left the reason before, if there was one.
        for folder in (shards.folder, host.workdir):
            if folder is not None and owners:
                host.require_no_failure(folder)
        lost = [k for k in missing if host.owner(k) not in living]
        if lost:
            part = lost[host.number % len(lost)]  # several idle hosts: several parts
            if host.owner(part) != host.number:
                say(
                    f"host {host.owner(part)} does not run: its parts are computed here"
                )
            progress.total += len(shards.of(part))
            yield part
            continue
        say(f"waits for parts of host {', '.join(map(str, sorted(living)))}")
        time.sleep(poll(shards.folder))


def _fill(
    task: Task, shards: Shards, parts: Sequence[int], host: Host, progress: Progress
) -> None:
    """Compute parts and write each when it is there, with what they took so far."""
    path = shards.folder / f"seconds-{host.number:05d}.json"
    spent = _spent(path) if parts and path.exists() else {}
    start = time.perf_counter()
    made = _made(task, [shards.of(part) for part in parts], progress.advance)
    for part, arrays in zip(parts, made, strict=True):
        ids = shards.of(part)
        lengths = {name: len(a) for name, a in arrays.items() if len(a) != len(ids)}
        if lengths:
            raise TaskError(
                f"{task.words.label}: returned {lengths} rows for {len(ids)} ids; let "
                "it return one row for each"
            )
        begun, start = start, time.perf_counter()
        _add(spent, task.device, start - begun)
        # The time first: a part without one would stay so.
        files.save_sealed(path, {"devices": spent})
        made_by = np.asarray(shards.made)
        files.save_npz(shards.path(part), ids=ids, made=made_by, **arrays)


def _made(
    task: Task, parts: Sequence[np.ndarray], advance: Advance
) -> Iterator[dict[str, np.ndarray]]:
    if isinstance(task, Streamed):
        return task.stream(parts, advance)
    return (task(ids, advance) for ids in parts)
