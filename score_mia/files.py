"""Files that are whole or absent: atomic writes, reads that name what is damaged.

A file is one of a local folder or an object of a bucket (`storage.locate`).

Records of ours are *sealed*: they carry a digest of what they say, so that one changed
bit, digit or key is noticed when they are read and never becomes a number.

    save_npz, load_npz          arrays; the seal covers type, shape and bytes of each
    save_sealed, load_sealed    JSON, with the seal as one more key
    save_json, load_json        JSON without a seal
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import json
import lzma
import os
import struct
import tempfile
import time
import tokenize
import types
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from score_mia.check import UserError, existing, reason, refusing, require, short
from score_mia.process import this_process
from score_mia.storage import ObjectPath, locate

DAMAGED = (
    *(OSError, EOFError, LookupError, TypeError, ValueError, AttributeError),
    *(ArithmeticError, SyntaxError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    tokenize.TokenError,
)
"""What NumPy raises on npy and npz files with flipped bytes or of another kind.

A flipped flag makes a member "encrypted" (RuntimeError), a flipped shape one of
terabytes (MemoryError), a flipped header is parsed as Python (tokenize, SyntaxError).
"""

Facts = Mapping[str, Any]
"""JSON values by their names."""

SEAL = "seal"
"""Name of the key, or of the array, that holds a record's seal."""

AGAIN = "delete it and run again"

_NO_SEAL = (
    "carries no seal, so that changes in it would go unnoticed (it is damaged, or a "
    "version before 0.2 wrote it)"
)


def write_atomic(path: str | Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write(file)` fill a temporary file, then rename it to `path`.

    A killed process leaves the old file or the new one, never half of one. A disk
    that is full or read-only becomes a `UserError` and leaves the old file. An object
    of a bucket is filled in memory and put at once.
    """
    path = locate(path)
    if isinstance(path, ObjectPath):
        filled = io.BytesIO()
        write(filled)
        path.write_bytes(filled.getvalue())
        return
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(".tmp", temporary_prefix(), path.parent)
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        remedy = (
            "give shorter names"
            if error.errno == errno.ENAMETOOLONG
            else "free some space or choose a writable folder"
        )
        raise UserError(
            f"cannot write {path} ({reason(error)}); {remedy}, then run the same "
            "command again: what was done is kept"
        ) from error


_TEMPORARY = ".score_mia-"
_FORGOTTEN = 24 * 3600.0
"""Seconds after which a temporary file of another machine belongs to nobody."""


def temporary_prefix() -> str:
    """What the names of this process's temporary files begin with."""
    me = this_process()
    return f"{_TEMPORARY}{me.room}-{me.pid}-{me.start}-"


def remove_orphans(folder: str | Path) -> int:
    """Remove the temporary files below a folder whose process has died.

    Those of living processes stay; those of other machines, of which it cannot be
    known, stay for a day.

    Returns:
      How many were removed; of a bucket none, where nothing is temporary.
    """
    me, count = this_process(), 0
    if isinstance(folder, ObjectPath):
        return count
    for path in Path(folder).rglob(f"{_TEMPORARY}*.tmp"):
        with contextlib.suppress(OSError, ValueError):
            room, pid, start, _ = path.name.removeprefix(_TEMPORARY).split("-")
            if room == me.room:
                process = dataclasses.replace(me, pid=int(pid), start=start)
                dead = process.alive is False
            else:
                dead = time.time() - path.stat().st_mtime > _FORGOTTEN
            if dead:
                path.unlink()
                count += 1
    return count


def save_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """A sealed npz, written atomically; the same bytes for the same arrays."""
    save: Any = np.savez_compressed
    seal = json.dumps({name: _array_digest(name, a) for name, a in arrays.items()})
    sealed = {**arrays, SEAL: np.asarray(seal)}
    write_atomic(path, lambda file: save(file, **sealed))


def load_npz(
    path: str | Path,
    keys: Iterable[str] | None,
    *,
    sealed: bool = True,
    remedy: str = AGAIN,
) -> dict[str, np.ndarray]:
    """Read the named arrays; nothing is unpickled.

    Args:
      path: the file.
      keys: names of the arrays; None for all.
      sealed: whether `save_npz` wrote it; False for files of other programs.
      remedy: what to do about a damaged file, with the least loss.

    Raises:
      UserError: the file is missing, damaged, pickled, lacks one of the keys, or an
        array is not the one that was sealed.
    """
    path = _existing(path)
    with (
        refusing(f"{path} is damaged or no npz file", remedy, *DAMAGED),
        _opened(path) as file,
        warnings.catch_warnings(action="ignore"),
        np.load(file, allow_pickle=False) as data,
    ):
        names = sorted(set(data) - {SEAL})
        keys = names if keys is None else list(keys)
        for key in keys:
            if key not in data:
                holds = f"it holds {names}: {remedy}"
                raise UserError(f"{path} has no array {key!r}; {holds}")
        arrays = {k: data[k] for k in keys}
        seal = json.loads(str(data[SEAL])) if sealed and SEAL in data else None
    if sealed:
        _require_sealed(path, seal, arrays, remedy)
    return arrays


def _existing(path: str | Path) -> Path:
    """The path of a file; whether an object is there is told by reading it."""
    path = locate(path)
    return path if isinstance(path, ObjectPath) else existing(path, "file")


def _opened(path: Path) -> Any:
    """A file to be read; an object is read whole, now."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        if not isinstance(path, ObjectPath):
            raise
        raise UserError(f"file {path}: does not exist; check the path") from None


def _require_sealed(
    path: Path, seal: Any, arrays: Mapping[str, np.ndarray], remedy: str
) -> None:
    require(isinstance(seal, dict), f"{path}", _NO_SEAL, remedy)
    for name, array in arrays.items():
        same = seal.get(name) == _array_digest(name, array)
        require(same, f"{path} is damaged", f"array {name!r} has changed", remedy)


def _array_digest(name: str, array: np.ndarray) -> str:
    return digest(name, np.asarray(array))


def save_json(path: str | Path, value: Any) -> None:
    """Indented JSON with sorted keys, atomically; NaN is refused."""
    text = _text(value)
    write_atomic(path, lambda file: file.write(text.encode()))


def load_json(path: str | Path, shape: Any = object, *, remedy: str = AGAIN) -> Any:
    """Read JSON.

    Args:
      path: the file.
      shape: what it has to look like (`require_shape`).
      remedy: what to do about a damaged file, with the least loss.

    Raises:
      UserError: the file is missing, damaged, or of another shape.
    """
    path = _existing(path)
    with (
        refusing(f"{path} is damaged", remedy, OSError, ValueError),
        _opened(path) as file,
    ):
        text = file.read().decode("utf-8")
    return parse_json(str(path), text, shape, remedy=remedy)


def parse_json(
    thing: str, text: str, shape: Any = object, *, remedy: str = AGAIN
) -> Any:
    """A JSON text as `load_json` reads a file; `thing` names it in messages."""
    kinds = (ValueError, RecursionError, MemoryError)
    with refusing(f"{thing} is damaged", remedy, *kinds):
        value = json.loads(text)
    require_shape(thing, value, shape, remedy)
    return value


def save_sealed(path: str | Path, value: Mapping[str, Any]) -> None:
    """A JSON object with one more key, "seal": the digest of all the others."""
    text = sealed_text(value)
    write_atomic(path, lambda file: file.write(text.encode()))


def sealed_text(value: Mapping[str, Any]) -> str:
    """What `save_sealed` writes."""
    plain = json.loads(json.dumps(dict(value), allow_nan=False))
    plain.pop(SEAL, None)  # of the record that this one was made from
    return _text({**plain, SEAL: json_digest(plain)})


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


def load_sealed(
    path: str | Path, shape: Any = dict, *, remedy: str = AGAIN
) -> dict[str, Any]:
    """Read what `save_sealed` wrote, without the seal.

    Args:
      path: the file.
      shape: what it has to look like (`require_shape`).
      remedy: what to do about a damaged file, with the least loss.

    Raises:
      UserError: the file is missing, damaged, changed since it was written, without a
        seal, or of another shape.
    """
    value = load_json(path, dict, remedy=remedy)
    seal = value.pop(SEAL, None)
    require(seal is not None, f"{path}", _NO_SEAL, remedy)
    try:
        same = seal == json_digest(value)
    except (ValueError, RecursionError):  # an Infinity that nobody wrote
        same = False
    require(same, f"{path} is damaged", "its content and its seal differ", remedy)
    require_shape(str(path), value, shape, remedy)
    return value


def json_digest(value: Any) -> str:
    """Digest of a JSON value: of its keys and values, not of how they are laid out."""
    return digest(json.dumps(value, sort_keys=True, allow_nan=False))


def require_shape(thing: str, value: Any, shape: Any, remedy: str) -> None:
    """Refuse a JSON value that does not look as its reader needs it.

    Args:
      thing: what the value is, for the message: a path, mostly.
      value: from `json.loads`.
      shape: a type or a union of types (`float` takes whole numbers too, and `object`
        anything); `[shape]` for a list of such; `{"key": shape, "other?": shape}` for
        an object with these keys (those with "?" may be absent) among others;
        `{str: shape}` for an object with such values under any key.
      remedy: what to do about it.

    Raises:
      UserError: one line that names the place at which it differs.
    """
    problem = _misfit(value, shape, "")
    require(problem is None, f"{thing} is damaged", f"{problem}", remedy)


def _misfit(value: Any, shape: Any, where: str) -> str | None:
    """The first place at which a value is not of the shape, in words."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _not_a(value, list, where)
        entries = ((f"{where}[{i}]", v, shape[0]) for i, v in enumerate(value))
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return _not_a(value, dict, where)
        named = {str(k).removesuffix("?"): s for k, s in shape.items() if k is not str}
        for key in shape:
            if isinstance(key, str) and key[-1:] != "?" and key not in value:
                return f"{where or 'it'} has no {key!r}"
        other = shape.get(str, object)
        entries = (
            (f"{where}.{k}".lstrip("."), v, named.get(k, other))
            for k, v in value.items()
        )
    else:
        return None if _is_a(value, shape) else _not_a(value, shape, where)
    return next(filter(None, (_misfit(v, s, at) for at, v, s in entries)), None)


def _is_a(value: Any, kind: Any) -> bool:
    kinds = kind.__args__ if isinstance(kind, types.UnionType) else (kind,)
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    if isinstance(value, int) and float in kinds:
        return True
    return isinstance(value, kinds)


_WORDS = {dict: "an object", list: "a list", str: "a text", float: "a number"}


def _not_a(value: Any, kind: Any, where: str) -> str:
    words = _WORDS.get(kind) or (kind.__name__ if isinstance(kind, type) else str(kind))
    return f"{where or 'it'} is {short(repr(value))}, not {words}"


def digest(*parts: bytes | str | np.ndarray) -> str:
    """Short SHA-256 of bytes, texts and arrays (with their dtype and shape)."""
    return digest_each(parts)


def digest_each(parts: Iterable[bytes | str | np.ndarray]) -> str:
    """`digest` of parts that need not be in memory together."""
    state = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            state.update(f"{part.dtype.str}{part.shape}".encode())
            flat = np.ascontiguousarray(part).reshape(-1)  # of a mapped file: no copy
            state.update(flat.view(np.uint8).data if flat.dtype.itemsize else b"")
        else:
            state.update(part.encode() if isinstance(part, str) else part)
    return state.hexdigest()[:16]


def sha256(path: str | Path) -> str:
    """Of a file, in full; computed once as long as it is not changed."""
    path = Path(path)
    about = path.stat()
    return _sha256(path.absolute(), about.st_mtime_ns, about.st_size)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, changed: int, size: int) -> str:
    del changed, size
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def keep_manifest(
    folder: str | Path,
    what: str,
    facts: Mapping[str, Any],
    *,
    write: bool = True,
    remedy: str = "choose another workdir",
) -> None:
    """Write down what a folder's parts were made with, or hold it against that.

    Args:
      folder: where the parts are.
      what: the parts in the plural, for the message.
      facts: JSON values that decide the parts.
      write: whether this process is the one that writes (the first of several hosts).
      remedy: what to do, instead of deleting the folder, about parts of other facts.

    Raises:
      UserError: the folder holds parts that were made with other facts.
    """
    path = locate(folder) / "manifest.json"
    facts = json.loads(json.dumps(dict(facts)))
    if not path.exists():
        if write:
            save_sealed(path, facts)
        return
    again = f"delete it and run again: {what} whose own seal holds are kept"
    old = load_sealed(path, remedy=again)
    for name in sorted(facts.keys() | old.keys()):
        require(
            old.get(name) == facts.get(name),
            f"{folder}",
            f"holds {what} made with {name}={old.get(name)!r}, now it is "
            f"{facts.get(name)!r}",
            f"{remedy} or delete that folder",
        )
