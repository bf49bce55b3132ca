"""Lists of images: ids or file names, in a config, in a text file or in an array."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int, Shaped

from score_mia.check import existing, refusing, require, short
from score_mia.data.source import Source
from score_mia.files import DAMAGED

_ID_MAX = 2**63 - 1

Listed: TypeAlias = str | Path | tuple[int | str, ...]
"""A file with a list of images, or the list itself: ids, ranges of them, file names."""


def inside(
    ids: Int[np.ndarray, " n"], names: Shaped[np.ndarray, " n"], folder: str
) -> Int[np.ndarray, " k"]:
    """Those of the images whose files lie in a folder, or below it.

    Args:
      ids, names: of the images and of their files.
      folder: relative to that of the data.
    """
    return ids[np.char.startswith(names, f"{folder.strip('/')}/")]


_KEYS = {
    "members": ("members", "mia_train_idxs"),
    "nonmembers": ("nonmembers", "mia_eval_idxs"),
}


def shown(given: Listed) -> str:
    """A list, for the recipe: which images it holds is kept by the split itself."""
    if not isinstance(given, tuple):
        return Path(given).name
    ranges = len(given) <= 4 and all(_range(str(entry)) for entry in given)
    return ", ".join(map(str, given)) if ranges else f"{len(given)} listed"


def _range(text: str) -> range | None:
    """The ids that "0:1000" stands for: from the first up to, without, the last."""
    parts = text.split(":")
    fine = len(parts) == 2 and all(len(n) < 20 and n.isdecimal() for n in parts)
    return range(*map(int, parts)) if fine else None


def _named_ids(
    entries: Iterable[object], what: str, source: Source
) -> Int[np.ndarray, " n"]:
    """Ids of entries that are ids or file names; what is wrong is told with its place.

    Args:
      entries: of a list, or lines of a text file.
      what: "entry" or "line".
      source: whose images they are.
    """
    known = source.columns(source.ids, ("file",)).get("file", ())
    files = {str(name): int(i) for name, i in zip(known, source.ids, strict=False)}
    ids = []
    for number, entry in enumerate(entries, 1):
        text = str(entry).strip()
        if text in files:
            ids.append(files[text])
            continue
        text = text.partition("#")[0].strip()
        if not text:
            continue
        if (several := _range(text)) is not None:
            last = int(source.ids[-1])
            if not several or several[-1] > last:
                raise ValueError(f"{what} {number} is {text!r}, no ids up to {last}")
            ids.extend(several)
            continue
        number_like = len(text) <= 20 and text.lstrip("+-").isdecimal()
        if text not in files and (not number_like or abs(int(text)) > _ID_MAX):
            near = difflib.get_close_matches(text, files, n=1)
            hint = f", nor a file of the data (nearest: {near[0]!r})" if near else ""
            shown = f"{what} {number} is {short(text)!r}"
            raise ValueError(f"{shown}, no id up to {_ID_MAX}{hint}")
        ids.append(files[text] if text in files else int(text))
    return np.asarray(ids, np.int64)


def listed_ids(given: Listed, role: str, source: Source) -> Int[np.ndarray, " n"]:
    """One list of ids, sorted, without repeats; they need not be in the source.

    Args:
      given: see `files`.
      role: what the list is, for messages, and the name of its array in an npz.
      source: whose images they are.
    """
    if isinstance(given, tuple):
        owner = f"split {role}"
    else:
        given = existing(given, f"{role} file")
        owner = f"{role} file {given}"
    remedy = (
        "give ids or file names of the data: a list, a text file with one a line, or "
        "an npy or npz file of integers"
    )
    with refusing(f"{owner} cannot be read", remedy, *DAMAGED):
        values = _read(given, role, source)
    ok = values.ndim == 1 and values.dtype.kind in "iu"
    remedy = "give one list of integers"
    require(ok, owner, f"holds {values.dtype} {values.shape}", remedy)
    require(len(values) > 0, owner, "holds no ids", "list some images")
    ok = int(values.max()) <= _ID_MAX
    require(ok, owner, f"holds the id {int(values.max())}", f"give ids up to {_ID_MAX}")
    ids = np.unique(values).astype(np.int64)
    twice = len(values) - len(ids)
    require(twice == 0, owner, f"repeats {twice} ids", "list each once")
    return ids


def _read(given: Path | tuple, role: str, source: Source) -> np.ndarray:
    """The ids of one list, as they are given."""
    if isinstance(given, tuple):
        return _named_ids(given, "entry", source)
    if given.suffix == ".npy":
        return np.asarray(np.lib.format.open_memmap(given, mode="r"))
    if given.suffix != ".npz":
        lines = given.read_text(encoding="utf-8").splitlines()
        return _named_ids(lines, "line", source)
    with given.open("rb") as file, np.load(file, allow_pickle=False) as data:
        known = _KEYS.get(role, (role,))
        keys = [k for k in known if k in data] or list(data)
        remedy = f"name the array with the ids {role!r}"
        require(len(keys) == 1, f"{given}", f"holds {sorted(data)}", remedy)
        return np.asarray(data[keys[0]])
