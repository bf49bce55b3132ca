"""Files of `torch.save`, read as data: without torch, running nothing of theirs.

A pickle is a program: it may import and call what it names. Here it may name only what
state dicts are made of (`_KNOWN`), and each of these names stands for a function of
ours. Opcodes that set attributes, make objects in other ways or claim memory before
they read it are gone. A tensor stays in the file until it is asked for, and its sizes
are then held against those of the file.
"""

from __future__ import annotations

import dataclasses
import io
import math
import mmap
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from jaxtyping import Shaped

from score_mia.check import UserError, existing, require

Array = Shaped[np.ndarray, "..."]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LONGEST_PICKLE = 2**26  # a checkpoint of 10,000 tensors needs about 2**21 bytes
_DEEPEST = 8
_REMEDY = "copy the file again from where it came"


def is_pickled(path: Path) -> bool:
    """Whether a file begins as `torch.save`'s do, of any version.

    It writes a zip or, before version 1.6, pickles of protocol 2.
    """
    with path.open("rb") as file:
        start = file.read(4)
    return start == b"PK\x03\x04" or start[:2] == b"\x80\x02"


def read_torch(path: str | Path, entries: Iterable[str]) -> dict[str, Any]:
    """Entries of the dict that a file of `torch.save` holds; the others stay there.

    Reads the zip format (torch 1.6 and later) and the one before it.

    Args:
      path: the file.
      entries: keys of the dict, such as "model"; those that it lacks are left out.

    Returns:
      The entries: dicts, lists, tuples, numbers and texts, with read-only arrays for
      tensors.

    Raises:
      UserError: no such file, a damaged or truncated one, no dict, sizes that do not
        agree, or a name that a state dict does not need (which could run code).
    """
    path = existing(path, "checkpoint")
    try:
        with path.open("rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            tree, fetch = _zipped(file) if zipped else _legacy(file)
            problem = f"is a {type(tree).__name__} and no dict"
            remedy = "save a dict of state dicts"
            require(isinstance(tree, dict), "what it holds", problem, remedy)
            arrays = _Arrays(fetch, size)
            return {k: arrays.tree(tree[k]) for k in entries if k in tree}
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error
    except Exception as error:  # bytes from anywhere: whatever they make it raise
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise UserError(
            f"checkpoint {path}: is damaged or no file of torch.save ({reason}); "
            f"{_REMEDY}"
        ) from error


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Numbers in the file: where, of which type, how many."""

    key: str
    dtype: np.dtype
    count: int

    @property
    def nbytes(self) -> int:
        return self.count * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides count numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


Fetch = Callable[[_Storage], bytes]
"""The bytes of a storage, little-endian."""


class _Arrays:
    """Turns tensors into arrays, each storage read once and never more than the file.

    Attributes:
      fetch: reads a storage.
      budget: bytes that may still be read.
    """

    def __init__(self, fetch: Fetch, budget: int) -> None:
        self.fetch, self.budget = fetch, budget
        self.read: dict[_Storage, np.ndarray] = {}
        self.made: dict[int, Any] = {}

    def tree(self, value: Any, depth: int = 0) -> Any:
        """The value with arrays for tensors; what is shared there is shared here."""
        if id(value) in self.made:
            return self.made[id(value)]
        require(depth < _DEEPEST, "its contents", "are nested too deeply", _REMEDY)
        if isinstance(value, _Tensor):
            made: Any = self.array(value)
        elif isinstance(value, dict):
            made = {k: self.tree(v, depth + 1) for k, v in value.items()}
        elif isinstance(value, list | tuple):
            made = type(value)(self.tree(v, depth + 1) for v in value)
        else:
            return value
        self.made[id(value)] = made
        return made

    def array(self, tensor: _Tensor) -> Array:
        """A view of what is stored, read-only; one beyond it is refused."""
        stored, shape, strides = tensor.storage, tensor.shape, tensor.strides
        count = math.prod(shape)
        last = tensor.offset + sum(
            (n - 1) * step for n, step in zip(shape, strides, strict=True)
        )
        require(
            min((tensor.offset, *shape, *strides)) >= 0
            and count <= stored.count
            and (count == 0 or last < stored.count),
            f"a tensor of shape {shape}",
            f"does not fit the {stored.count} numbers stored for it",
            _REMEDY,
        )
        if count == 0:
            return np.zeros(shape, stored.dtype)
        steps = [step * stored.dtype.itemsize for step in strides]
        numbers = self.numbers(stored)[tensor.offset :]
        view = np.lib.stride_tricks.as_strided
        return view(numbers, shape, steps, writeable=False)

    def numbers(self, stored: _Storage) -> Array:
        """A storage, read at its first use."""
        if stored not in self.read:
            self.budget -= stored.nbytes
            within = stored.count >= 0 and self.budget >= 0
            require(within, "its tensors", "are larger than the file", _REMEDY)
            data = self.fetch(stored)
            ok = len(data) == stored.nbytes
            problem = f"has {len(data)} bytes where {stored.nbytes} are declared"
            require(ok, f"storage {stored.key!r}", problem, _REMEDY)
            self.read[stored] = np.frombuffer(data, stored.dtype.newbyteorder("<"))
        return self.read[stored]


# --- the two formats ---------------------------------------------------------------


def _zipped(file: BinaryIO) -> tuple[Any, Fetch]:
    """The zip format: NAME/data.pkl, and NAME/data/KEY for each storage."""
    archive = zipfile.ZipFile(file)
    programs = [n for n in archive.namelist() if n.endswith("/data.pkl")]
    require(len(programs) == 1, "the archive", "has not one data.pkl", _REMEDY)
    root = programs[0].removesuffix("data.pkl")

    def member(name: str, most: int) -> bytes:
        info = archive.getinfo(f"{root}{name}")
        ok = info.compress_type == zipfile.ZIP_STORED and info.file_size <= most
        problem = f"is compressed, or longer than the {most} declared"
        require(ok, f"{name} of {info.file_size} bytes", problem, _REMEDY)
        return archive.read(info)  # which checks the CRC

    if f"{root}byteorder" in archive.namelist():
        _require_little(member("byteorder", 6) == b"little")
    tree = _Unpickler(io.BytesIO(member("data.pkl", _LONGEST_PICKLE))).load()
    return tree, lambda stored: member(f"data/{stored.key}", stored.nbytes)


def _legacy(file: BinaryIO) -> tuple[Any, Fetch]:
    """The format before torch 1.6: five pickles, then each storage after its length."""
    whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    magic, _, system = (_Unpickler(whole).load() for _ in range(3))
    require(magic == _LEGACY_MAGIC, "its beginning", "is not torch's", _REMEDY)
    _require_little(system["little_endian"] is True)
    main = _Unpickler(whole)
    tree, keys = main.load(), _Unpickler(whole).load()
    known = {stored.key: stored for stored in main.storages}
    starts, place = {}, whole.tell()
    for key in keys:
        count = int.from_bytes(whole[place : place + 8], "little")
        declared = known[key].count
        require(count == declared, f"storage {key!r}", "has another length", _REMEDY)
        starts[key] = place + 8
        place += 8 + known[key].nbytes
    require(place <= len(whole), "the file", "ends too early", _REMEDY)

    def fetch(stored: _Storage) -> bytes:
        start = starts[stored.key]
        return whole[start : start + stored.nbytes]

    return tree, fetch


def _require_little(little: bool) -> None:
    require(little, "its numbers", "are big-endian", "save it on another machine")


# --- the pickle --------------------------------------------------------------------


def _ignore_state(unpickler: Any) -> None:
    """BUILD would set attributes; those of a state dict tell versions only."""
    unpickler.stack.pop()


_FORBIDDEN = (
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


class _Unpickler(pickle._Unpickler):  # the one in Python: its opcodes are a table
    """Runs a pickle in which nothing can be named that is not in `_KNOWN`."""

    dispatch: ClassVar[Any] = {
        **{
            code: run
            for code, run in pickle._Unpickler.dispatch.items()
            if bytes([code]) not in _FORBIDDEN
        },
        pickle.BUILD[0]: _ignore_state,
    }

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.storages: list[_Storage] = []

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        known = _KNOWN.get(full)
        require(
            known is not None,
            f"it names {full[:80]!r}",
            "which no state dict needs and which could run code",
            "if you trust the file, load it with torch and save model, ema and step",
        )
        return known

    def persistent_load(self, pid: Any) -> _Storage:
        what, kind, key, _, count, *view = pid
        ok = what == "storage" and isinstance(kind, _Kind) and view in ([], [None])
        if not ok or type(key) is not str or type(count) is not int:
            raise ValueError("a storage is described in an unknown way")
        self.storages.append(_Storage(key, kind.dtype, count))
        return self.storages[-1]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A class of storages, such as torch.FloatStorage; not to be called."""

    dtype: np.dtype


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor has no storage")
    whole = (offset, *shape, *strides)
    if len(whole) > 32 or not all(type(n) is int and abs(n) < 2**48 for n in whole):
        raise ValueError("a tensor's sizes are no whole numbers")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _dtype(name: Any, *_: Any) -> np.dtype:
    """NumPy's scalars are in the optimiser's entry: the learning rate is one."""
    if not re.fullmatch("[fiu][1248]", name):
        raise ValueError(f"a number has the type {name!r}")
    return np.dtype(name)


def _scalar(dtype: Any, data: bytes) -> float | int:
    return np.frombuffer(data, dtype, 1)[0].item()


def _latin(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    if encoding != "latin1":
        raise ValueError(f"bytes are encoded as {encoding!r}")
    return text.encode("latin1")


_NUMBERS = {
    **{"Double": "f8", "Float": "f4", "Half": "f2", "Bool": "?"},
    **{"Long": "i8", "Int": "i4", "Short": "i2", "Char": "i1", "Byte": "u1"},
}
_KNOWN: dict[str, Any] = {
    "collections.OrderedDict": dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "_codecs.encode": _latin,
    **{f"torch.{n}Storage": _Kind(np.dtype(d)) for n, d in _NUMBERS.items()},
}
