"""Tensors in safetensors: a file, a sharded checkpoint, or a folder with either.

    tensors = Tensors.of("sd15/unet")
    tensors["conv_in.weight"]                 # read now, and not kept

The names and shapes come from the files' headers; nothing else is read before it is
asked for. Half precision of both kinds stays what it is in the file. (The package's own
NumPy reader knows no bfloat16: the bytes are read here, after it has checked the file.)
"""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError, safe_open

from score_mia.check import UserError, existing, reason, require
from score_mia.files import load_json, parse_json, sha256
from score_mia.interop.unpickle import is_pickled

_KINDS: Mapping[str, Any] = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "BOOL": "?"},
    **{"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"},
    **{"U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1"},
}
"""What the format calls a kind of numbers, and what NumPy does."""

_AGAIN = "copy the file again from where it came"
_SAFE = "save the model again as safetensors (safe_serialization=True)"
_PICKLED = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
_SHARD = re.compile(r".*-\d+-of-\d+$")


class Stored(NamedTuple):
    """Where a tensor lies.

    Attributes:
      path: the file.
      kind: what its numbers are, by the format's name ("F32", "BF16", ...).
      shape: its sizes.
      start: bytes of the file before it.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    start: int


class Lazy(Mapping[str, Shaped[np.ndarray, "..."]], abc.ABC):
    """Names to arrays that are made when they are asked for; shapes cost nothing."""

    @abc.abstractmethod
    def shape(self, name: str) -> tuple[int, ...]:
        """The sizes of an array, which is not made for that."""


@dataclasses.dataclass(frozen=True)
class Tensors(Lazy):
    """Names to arrays, read from the files whenever they are asked for.

    Attributes:
      stored: where each tensor lies.
      files: the files, in the order of their names.
      metadata: texts that their headers hold besides (a LoRA's settings, say).
    """

    stored: Mapping[str, Stored]
    files: tuple[Path, ...]
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, path: str | Path, variant: str = "") -> Tensors:
        """The tensors of a file or a folder.

        Args:
          path: a file of safetensors, the index of a sharded checkpoint
            ("*.safetensors.index.json"), or a folder that holds one of them.
          variant: which of several in a folder: "fp16" for "model.fp16.safetensors";
            "" for the one whose name says nothing of the kind, or the only one.

        Raises:
          UserError: the path or a shard is missing, a file is pickled, truncated,
            damaged, or in 8-bit numbers, or a folder holds no or several candidates.
        """
        path = existing(path, "weights")
        path = _within(path, variant) if path.is_dir() else path
        if path.name.endswith(".json"):
            return _sharded(cls, path)
        stored, metadata = _header(path)
        return cls(stored, (path,), metadata)

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "..."]:
        """The array, in the file's own precision; its bytes are read at each call."""
        path, kind, shape, start = self.stored[name]
        dtype, count = np.dtype(_KINDS[kind]), math.prod(shape)
        try:
            with path.open("rb") as file:
                file.seek(start)
                flat = np.fromfile(file, dtype, count)
        except OSError as error:
            problem = f"cannot be read ({reason(error)})"
            raise UserError(f"weights {path}: {problem}; {_AGAIN}") from error
        ok = len(flat) == count
        require(ok, f"weights {path}", f"ends within {name!r}", _AGAIN)
        return flat.reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    def __contains__(self, name: object) -> bool:
        return name in self.stored  # a Mapping's own would read the array

    def shape(self, name: str) -> tuple[int, ...]:
        """The sizes that the header says."""
        return self.stored[name].shape

    def sha256(self) -> str:
        """Of the file; of several, of their names and digests."""
        digests = {path.name: sha256(path) for path in self.files}
        if len(digests) == 1:
            return next(iter(digests.values()))
        return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _within(folder: Path, variant: str) -> Path:
    """The file or the index that a folder holds."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file())
    found: dict[str, list[str]] = {}
    for name in names:
        match = re.fullmatch(
            r"(.+)\.safetensors(?:\.index(?:\.([\w-]+))?\.json)?", name
        )
        if match is None or _SHARD.fullmatch(match[1]):
            continue
        _, _, said = match[1].partition(".")
        found.setdefault(match[2] or said, []).append(name)
    if not found:
        pickled = [name for name in names if name.endswith(_PICKLED)]
        problem = "holds no safetensors"
        if pickled:
            problem = f"holds pickled weights only ({pickled[0]}), which can run code"
        require(False, f"weights {folder}", problem, _SAFE)
    ours = found.get(variant, [])
    if not ours and not variant and len(found) == 1:
        ours = next(iter(found.values()))
    index = [name for name in ours if name.endswith(".json")]
    ours = index or ours
    what = f"{folder} has {sorted(n for group in found.values() for n in group)}"
    problem = f"of which {len(ours)} are of variant {variant!r}"
    remedy = f"name a file, or a variant of {sorted(found)}"
    require(len(ours) == 1, what, problem, remedy)
    return folder / ours[0]


def _sharded(cls: type[Tensors], index: Path) -> Tensors:
    table = load_json(index, {"weight_map": dict}, remedy=_AGAIN)["weight_map"]
    stored: dict[str, Stored] = {}
    metadata: dict[str, str] = {}
    shards = sorted({str(shard) for shard in table.values()})
    for shard in shards:
        own = Path(shard).name == shard and shard not in ("", ".", "..")
        require(own, f"{index}", f"names a shard {shard!r} outside its folder", _AGAIN)
        path, remedy = index.parent / shard, "copy all shards into the folder"
        require(path.is_file(), f"shard {path}", f"is missing ({index.name})", remedy)
        entries, texts = _header(path)
        stored |= {n: e for n, e in entries.items() if table.get(n) == shard}
        metadata |= texts
    lacking = sorted(set(table) - set(stored))
    problem = f"names tensors that are not in their shards ({lacking[:3]})"
    require(not lacking, f"{index}", problem, "copy index and shards again together")
    return cls(stored, tuple(index.parent / s for s in shards), metadata)


def _header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    """Where a file's tensors lie, and its texts."""
    what = f"weights {path}"
    _refuse_pickled(path, what)
    try:
        with safe_open(path, "np"):
            pass  # it has held the sizes against the file's
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            text = file.read(size).decode()
    except (SafetensorError, OSError, UnicodeDecodeError, OverflowError) as error:
        problem = f"is truncated, or no file of safetensors ({reason(error)})"
        raise UserError(f"{what}: {problem}; {_AGAIN}") from error
    header = parse_json(what, text, dict, remedy=_AGAIN)
    metadata = header.pop("__metadata__", {})
    stored = {}
    for name, entry in header.items():
        kind, (start, _) = entry["dtype"], entry["data_offsets"]
        ok = kind in _KINDS
        problem = (
            f"holds {name!r} in {kind}, which is no plain number of 16 bits or more"
        )
        remedy = "give the model in float32, float16 or bfloat16"
        require(ok, what, problem, remedy)
        stored[name] = Stored(path, kind, tuple(entry["shape"]), 8 + size + start)
    return stored, metadata


def _refuse_pickled(path: Path, what: str) -> None:
    pickled = is_pickled(path) or path.name.endswith(_PICKLED)
    problem = "is pickled, a program that can run code"
    require(not pickled, what, problem, _SAFE)
