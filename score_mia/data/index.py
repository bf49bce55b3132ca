"""What is in a folder of images: names, sizes and times, kept without an object each.

A million names take some 60 MB. An index that is kept on disk spares a later start the
search: folders whose time of change is what it was are not listed again. A file that is
changed in place leaves its folder's time as it was, so whoever opens a file holds it
against its size and time here (`Index.check`).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from score_mia.check import UserError, printable, refusing, require
from score_mia.files import digest, digest_each, load_npz, save_npz
from score_mia.progress import say

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"),
    *(".tif", ".tiff", ".pgm", ".ppm"),
)
"""Files that count as images, whatever the case of their letters."""

_RACY = 2_000_000_000
"""Nanoseconds for which a folder's time of change may hide a second change."""

_TOLD = 100_000
"""Images after which a search says how far it is."""

_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """The images below a folder, sorted by relative path with "/" between the parts.

    Attributes:
      root: the folder.
      text: [b] uint8, all names in UTF-8, one after the other.
      ends: [N] int64, where each name ends.
      sizes, times: [N] int64, bytes of each file; its time of change in nanoseconds.
      beside: whether there are text files among the images.
    """

    root: Path
    text: np.ndarray
    ends: Int[np.ndarray, " n"]
    sizes: Int[np.ndarray, " n"]
    times: Int[np.ndarray, " n"]
    beside: bool

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, row: int) -> str:
        """The relative path of an image."""
        start = int(self.ends[row - 1]) if row else 0
        return self.text[start : int(self.ends[row])].tobytes().decode()

    def names(self, rows: Sequence[int] | Int[np.ndarray, " n"]) -> list[str]:
        """The relative paths of some images."""
        return [self.name(int(row)) for row in rows]

    def facts(self) -> Iterator[str]:
        """Name, size and time of each image, as its decoded pixels are known by."""
        for row in range(len(self)):
            yield f"{self.name(row)}\0{self.sizes[row]}\0{self.times[row]}"

    def fingerprint(self, *parts: str) -> str:
        """`digest(*parts, *facts())`, without a list of them."""
        return digest_each(itertools.chain(parts, self.facts()))

    def check(self, row: int) -> Path:
        """The path of an image, whose file is what was found.

        Raises:
          UserError: it has been changed or removed since then.
        """
        path = self.root / self.name(row)
        with refusing(f"image {path} cannot be read", "repair or remove it", OSError):
            now = path.stat()
        same = (now.st_size, now.st_mtime_ns) == (self.sizes[row], self.times[row])
        problem = "has changed since the folder was searched"
        remedy = "run again; with a cache, delete its file index-*.npz first"
        require(same, f"image {path}", problem, remedy)
        return path


def scan(root: Path, kept: str | Path | None = None) -> Index:
    """Search a folder and all those below it, once.

    Links to files are followed, links to folders are not. Hidden files and folders are
    passed over. What is named like an image and is none (a folder, a link to nothing),
    and a folder that cannot be searched, are refused: a list that silently lacks them
    would number the others anew.

    Args:
      root: the folder.
      kept: folder to keep the index in; one that is there is used again if no folder
        has changed since.

    Raises:
      UserError: there is no image, or what is refused as above.
    """
    where = str(root.resolve())
    path = None if kept is None else Path(kept).expanduser()
    if path is not None:
        path /= f"index-{digest(where)}.npz"
        found = _read(root, path)
        if found is not None:
            return found
    index, folders, began = _search(root)
    if path is not None:
        names, stamps = zip(*folders, strict=True)
        save_npz(
            path,
            **{name: getattr(index, name) for name in _ARRAYS},
            beside=np.asarray(index.beside),
            folders=np.frombuffer("\0".join(names).encode(), np.uint8),
            stamps=np.asarray(stamps, np.int64),
            about=np.asarray([_VERSION, began]),
        )
    return index


_ARRAYS = ("text", "ends", "sizes", "times")
_KEPT = (*_ARRAYS, "beside", "folders", "stamps", "about")


def _read(root: Path, path: Path) -> Index | None:
    """The index that is kept, if no folder has changed since it was made."""
    if not path.exists():
        return None
    kept = load_npz(path, None)
    if set(kept) != set(_KEPT) or int(kept["about"][0]) != _VERSION:
        return None
    names = kept["folders"].tobytes().decode().split("\0")
    began = int(kept["about"][1])
    for name, stamp in zip(names, kept["stamps"].tolist(), strict=True):
        try:
            now = (root / name).stat().st_mtime_ns
        except OSError:
            return None
        if now != stamp or began - stamp < _RACY:
            return None
    text, ends, sizes, times = (kept[name] for name in _ARRAYS)
    return Index(root, text, ends, sizes, times, bool(kept["beside"]))


def _search(root: Path) -> tuple[Index, list[tuple[str, int]], int]:
    """The index, the folders searched with their times of change, and when it began."""
    began, text = time.time_ns(), bytearray()
    ends, sizes, times = array("q"), array("q"), array("q")
    folders: list[tuple[str, int]] = []
    left, beside = [""], False
    while left:
        below = left.pop()
        folders.append((below, _stamp(root / below)))
        for entry in _entries(root / below):
            if entry.name.startswith("."):
                continue
            name = f"{below}/{entry.name}" if below else entry.name
            suffix = os.path.splitext(entry.name)[1].lower()
            if suffix in SUFFIXES:
                size, stamp = _file(entry)
                text += name.encode()
                ends.append(len(text))
                sizes.append(size)
                times.append(stamp)
                if len(ends) % _TOLD == 0:
                    say(f"folder {root}", f"{len(ends):,} images found")
            elif entry.is_dir(follow_symlinks=False):
                left.append(name)
            else:
                beside |= suffix == ".txt"
    known = ", ".join(SUFFIXES)
    require(
        len(ends) > 0, f"folder {root}", "holds no images", f"give files of {known}"
    )
    arrays = (np.frombuffer(a, np.int64) for a in (ends, sizes, times))
    made = _sorted(np.frombuffer(bytes(text), np.uint8), *arrays)
    return Index(root, *made, beside), folders, began


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        problem = f"folder {folder} cannot be searched ({error.strerror})"
        raise UserError(f"{problem}; make it readable, or move it away") from error


def _stamp(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return -1  # told when it is searched


def _file(entry: os.DirEntry[str]) -> tuple[int, int]:
    """Size and time of what is named like an image: a file whose name is a text."""
    remedy, path = "rename or remove it", entry.path
    try:
        folder, file = entry.is_dir(), entry.is_file()
    except OSError:  # a link to itself
        folder = file = False
    require(not folder, f"image {path}", "is a folder", remedy)
    require(file, f"image {path}", "is no file, or a link to none", remedy)
    try:
        path.encode()
    except UnicodeEncodeError:
        what = f"image {printable(path)}"
        raise UserError(f"{what}: its name is not UTF-8; rename it") from None
    with refusing(f"image {path} cannot be read", "repair or remove the file", OSError):
        about = entry.stat()
    return about.st_size, about.st_mtime_ns


def _sorted(
    text: np.ndarray, ends: np.ndarray, sizes: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By name: bytes of UTF-8 have the order of the letters that they stand for."""
    starts = np.concatenate([[0], ends[:-1]])
    names = [text[a:b].tobytes() for a, b in zip(starts, ends, strict=True)]
    order = np.asarray(sorted(range(len(names)), key=names.__getitem__))
    lengths = (ends - starts)[order]
    joined = np.frombuffer(b"".join([names[i] for i in order]), np.uint8)
    return joined, np.cumsum(lengths), sizes[order], times[order]
