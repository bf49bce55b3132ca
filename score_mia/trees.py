"""Trees of arrays on disk: written whole or not at all, read only if nothing changed.

The storage library (orbax) reads a missing chunk as zeros and reports other damage from
its own threads, so a digest of all files of a folder is held against the one that was
taken when they were written, before a byte reaches it.

In a bucket a tree is the same files, an object each, and one more that names them and
is put last (`.files.json`). They pass through a temporary folder of this machine.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_mia.check import UserError, require
from score_mia.files import digest, load_sealed, save_sealed
from score_mia.storage import ObjectPath, download, each, there, upload


def leaf_name(path: tuple[Any, ...]) -> str:
    """The name of a leaf, e.g. "dense/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


INDEX = ".files.json"
"""Names of a tree's files in a bucket: no listing is relied on."""


def has_tree(path: Path) -> bool:
    """Whether a tree is there, and was written to its end."""
    if isinstance(path, ObjectPath):
        return (path / INDEX).exists() or path.is_dir()
    return path.is_dir()


def save_tree(path: Path, tree: Any, live: str | None = None) -> str:
    """Write the arrays atomically; the digest of the files that hold them.

    A path whose name says its contents and whose files have the digest `live` is left
    as it is: another process may be reading it.
    """
    if isinstance(path, ObjectPath):
        return _put_tree(path, tree, live)
    import orbax.checkpoint as ocp

    try:
        if live is not None and path.is_dir() and files_digest(path) == live:
            return live
        path.parent.mkdir(parents=True, exist_ok=True)
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        if shutil.disk_usage(path.parent).free < 1.1 * needed + 1e6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if path.exists():
            shutil.rmtree(path)
        with _silent(), _storage() as writer:
            writer.save(path.absolute(), args=ocp.args.PyTreeSave(tree))
        return files_digest(path)
    except (OSError, ValueError, RuntimeError) as error:
        # A full disk reaches us from the storage library as any of the three.
        _remove_torn(path)
        told = re.search(r": ([^:\[]+) \[os_error_code", str(error))
        reason = (told or [0, "storage failed"])[1]
        if isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        raise UserError(
            f"cannot write {path} ({reason}); free some space or choose a writable "
            "folder, then run the same command again: what was done is kept"
        ) from error


def _storage() -> Any:
    """The storage library, for this process alone: it would wait for all others."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    own = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"host{me}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=own)
    return ocp.Checkpointer(handler, multiprocessing_options=own)


def _put_tree(path: ObjectPath, tree: Any, live: str | None) -> str:
    """`save_tree` for a bucket: written here, then put, the names last."""
    index = path / INDEX
    if live is not None and _is_live(index, live):
        return live
    with tempfile.TemporaryDirectory(prefix="score_mia-") as room:
        here = Path(room) / path.name
        written = save_tree(here, tree)
        names = _names(here)
        index.unlink()
        each(lambda name: upload(here / name, path / name), names)
    save_sealed(index, {"files": names, "digest": written})
    return written


def _is_live(index: Path, live: str) -> bool:
    """Whether an index speaks of these files, and all of them are there."""
    if not index.exists():
        return False
    about = load_sealed(index, {"files": [str], "digest": str})
    found = there(index.parent / name for name in about["files"])
    return about["digest"] == live and all(found)


def _get_tree(path: ObjectPath, here: Path, remedy: str) -> None:
    """Bring a tree's files here; one that was copied into a bucket has no index."""
    if (index := path / INDEX).exists():
        names = load_sealed(index, {"files": [str]}, remedy=remedy)["files"]
    else:
        listed = [str(p.relative_to(path)) for p in path.rglob("*")]
        names = [name for name in listed if name != INDEX]
    require(bool(names), f"{path}", "is missing", remedy)

    def get(name: str) -> None:
        try:
            download(path / name, here / name)
        except FileNotFoundError:
            raise UserError(f"{path / name}: is missing; {remedy}") from None

    each(get, names)


def _remove_torn(path: Path) -> None:
    """Remove what a failed write left, whose threads may still be writing there."""
    for _ in range(50):
        left = list(path.parent.glob(f"{path.name}.orbax-checkpoint-tmp*"))
        if not left:
            return
        for torn in left:
            shutil.rmtree(torn, ignore_errors=True)
        time.sleep(0.02)


def files_digest(path: Path) -> str:
    """Digest of the names and bytes of all files in a folder."""
    lines = []
    for name in _names(path):
        with (path / name).open("rb") as stream:
            contents = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{name}\0{contents}\n")
    return digest(*lines)


def _names(path: Path) -> list[str]:
    """Of all files of a tree, in the order of their paths; not that of an index."""
    files = sorted(p for p in path.rglob("*") if p.is_file())
    names = [file.relative_to(path).as_posix() for file in files]
    return [name for name in names if name != INDEX]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the storage library's log of tracebacks off the terminal: we tell it."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def load_tree(path: Path, like: Any, expected: str, remedy: str) -> Any:
    """Read arrays, if the files are the very ones that were written.

    Args:
      path: as given to `save_tree`.
      like: nested dict of things with `shape` and `dtype`.
      expected: what `save_tree` returned.
      remedy: what to do about damage, with the least loss.

    Raises:
      UserError: the folder is missing, damaged, or holds other arrays.
    """
    if isinstance(path, ObjectPath):
        with tempfile.TemporaryDirectory(prefix="score_mia-") as room:
            here = Path(room) / path.name
            _get_tree(path, here, remedy)
            return _load(here, like, expected, remedy, path)
    return _load(path, like, expected, remedy, path)


def _load(here: Path, like: Any, expected: str, remedy: str, path: Path) -> Any:
    """`load_tree` of a local folder, which messages call by another path."""
    import orbax.checkpoint as ocp

    require(here.is_dir(), f"{path}", "is missing", remedy)
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    try:
        same = files_digest(here) == expected
        require(same, f"{path}", "is damaged (digest differs)", remedy)
        with _silent(), _storage() as reader:
            kept = reader.metadata(here.absolute()).item_metadata.tree
            _require_same_shapes(kept, like, path, remedy)
            args = ocp.args.PyTreeRestore(item=like, restore_args=kinds)
            tree = reader.restore(here.absolute(), args=args)
        return jax.tree.map(np.asarray, tree)
    except UserError:
        raise
    except Exception as error:  # bytes from anywhere: whatever they make it raise
        reason = f"cannot be read ({type(error).__name__})"
        raise UserError(f"{path}: {reason}; {remedy}") from error


def _require_same_shapes(kept: Any, like: Any, path: Path, remedy: str) -> None:
    def listed(tree: Any) -> dict[str, tuple[int, ...]]:
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {leaf_name(path): tuple(leaf.shape) for path, leaf in leaves}

    found, wanted = listed(kept), listed(like)
    for name in sorted({*found, *wanted}):
        problem = (
            f"array {name!r} has shape {found.get(name, 'none')} where its spec needs "
            f"{wanted.get(name, 'none')}"
        )
        require(found.get(name) == wanted.get(name), f"{path}", problem, remedy)
