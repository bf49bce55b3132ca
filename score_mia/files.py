"""Files that are whole or absent: atomic writes, reads that name what is damaged."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from score_mia.check import UserError, existing, require

DAMAGED = (
    *(OSError, EOFError, KeyError, TypeError, ValueError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What NumPy raises on npy and npz files with flipped bytes or of another kind."""


def write_atomic(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write(file)` fill a temporary file, then rename it to `path`.

    A killed process leaves the old file or the new one, never half of one. A disk
    that is full or read-only becomes a `UserError` and leaves the old file.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        reason = error.strerror or str(error)
        raise UserError(
            f"cannot write {path} ({reason}); free some space or choose a writable "
            "folder, then run the same command again: what was done is kept"
        ) from error


def save_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """`np.savez_compressed`, atomically and with the same bytes for the same arrays."""
    save: Any = np.savez_compressed
    write_atomic(path, lambda file: save(file, **arrays))


def load_npz(path: str | Path, keys: Iterable[str]) -> dict[str, np.ndarray]:
    """Read the named arrays; nothing is unpickled.

    Raises:
      UserError: the file is missing, damaged, pickled, or lacks one of the keys.
    """
    path = existing(path, "file")
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            missing = [k for k in keys if k not in data]
            if missing:
                raise UserError(
                    f"{path} has no array {missing[0]!r}; it holds {sorted(data)}"
                )
            return {k: data[k] for k in keys}
    except UserError:
        raise
    except DAMAGED as error:
        raise UserError(
            f"{path} is damaged or no npz file ({error}); delete it and run again"
        ) from error


def save_json(path: str | Path, value: Any) -> None:
    """Indented JSON with sorted keys, atomically; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode()))


def load_json(path: str | Path) -> Any:
    """Read JSON; `UserError` if the file is missing or damaged."""
    path = existing(path, "file")
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it and run again"
        ) from error


def digest(*parts: bytes | str | np.ndarray) -> str:
    """Short SHA-256 of bytes, texts and arrays (with their dtype and shape)."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"{part.dtype.str}{part.shape}".encode())
            state.update(np.ascontiguousarray(part).tobytes())
        else:
            state.update(part.encode() if isinstance(part, str) else part)
    return state.hexdigest()[:16]


def keep_manifest(
    folder: str | Path, what: str, facts: Mapping[str, Any], *, write: bool = True
) -> None:
    """Write down what a folder's parts were made with, or hold it against that.

    Args:
      folder: where the parts are.
      what: the parts in the plural, for the message.
      facts: JSON values that decide the parts.
      write: whether this process is the one that writes (the first of several hosts).

    Raises:
      UserError: the folder holds parts that were made with other facts.
    """
    path = Path(folder) / "manifest.json"
    facts = json.loads(json.dumps(dict(facts)))
    if not path.exists():
        if write:
            save_json(path, facts)
        return
    old = load_json(path)
    for name in sorted(facts.keys() | old.keys()):
        require(
            old.get(name) == facts.get(name),
            f"{folder}",
            f"holds {what} made with {name}={old.get(name)!r}, now it is "
            f"{facts.get(name)!r}",
            "choose another workdir or delete that folder",
        )
