"""Trees of arrays on disk: written whole or not at all, read only if nothing changed.

The storage library (orbax) reads a missing chunk as zeros and reports other damage from
its own threads, so a digest of all files of a folder is held against the one that was
taken when they were written, before a byte reaches it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_mia.check import UserError, require
from score_mia.files import digest


def leaf_name(path: tuple[Any, ...]) -> str:
    """The name of a leaf, e.g. "dense/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def save_tree(path: Path, tree: Any, live: str | None = None) -> str:
    """Write the arrays atomically; the digest of the files that hold them.

    A path whose name says its contents and whose files have the digest `live` is left
    as it is: another process may be reading it.
    """
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
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        with file.open("rb") as stream:
            contents = hashlib.file_digest(stream, "sha256").hexdigest()
        lines.append(f"{file.relative_to(path).as_posix()}\0{contents}\n")
    return digest(*lines)


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
    import orbax.checkpoint as ocp

    require(path.is_dir(), f"{path}", "is missing", remedy)
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), like)
    try:
        same = files_digest(path) == expected
        require(same, f"{path}", "is damaged (digest differs)", remedy)
        with _silent(), _storage() as reader:
            kept = reader.metadata(path.absolute()).item_metadata.tree
            _require_same_shapes(kept, like, path, remedy)
            args = ocp.args.PyTreeRestore(item=like, restore_args=kinds)
            tree = reader.restore(path.absolute(), args=args)
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
