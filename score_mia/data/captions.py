"""Captions of a folder's images, from files that lie among them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from score_mia.check import refusing, require
from score_mia.files import DAMAGED

FILES = ("captions.csv", "metadata.jsonl")
"""A table with columns "file" and "caption"; one JSON object a line with these keys."""

_FILE, _CAPTION = ("file", "file_name"), ("caption", "text")
"""The names of either, the second those of Hugging Face's image folders."""


def captions(folder: Path, names: Sequence[str]) -> tuple[str, ...] | None:
    """The caption of each image, or None where the folder has none.

    They stand in one of `FILES`; without these, in a text file beside each image, named
    as it is but for ".txt" at the end.

    Args:
      folder: where the images are.
      names: their paths relative to it, with "/" between the parts.

    Raises:
      UserError: both files are there, the one that is there is damaged or lacks a
        caption (the first image without one is named), or names an image twice.
    """
    paths = [folder / name for name in FILES if (folder / name).is_file()]
    if not paths:
        return _beside(folder, names)
    require(len(paths) == 1, f"folder {folder}", f"holds {FILES}", "remove one of them")
    (path,) = paths
    remedy = "give each image one line with its file and caption, or move it away"
    table: dict[str, str] = {}
    with refusing(f"{path} cannot be read", remedy, csv.Error, *DAMAGED):
        for number, row in enumerate(rows(path), 1):
            name, text = _entry(row, _FILE), caption_of(row)
            known = isinstance(name, str) and isinstance(text, str)
            what = f"{path}, entry {number}"
            require(known, what, f"has no {' or '.join(_CAPTION)} of a file", remedy)
            require(name not in table, what, f"names {name!r} again", remedy)
            table[name] = text
    missing = [name for name in names if name not in table]
    require(not missing, f"{path}", f"has no caption of {missing[:1]}", remedy)
    return tuple(table[name] for name in names)


def _beside(folder: Path, names: Sequence[str]) -> tuple[str, ...] | None:
    """The text file of each image, or None where no image has one."""
    paths = [(folder / name).with_suffix(".txt") for name in names]
    there = [path.is_file() for path in paths]
    if not any(there):
        return None
    remedy = "write it, or move those of the other images away"
    lacking = [name for name, known in zip(names, there, strict=True) if not known]
    require(not lacking, f"image {lacking[:1]}", "has no caption file", remedy)
    # Two images of one name would be told one caption, and nobody knows which is meant.
    uses = Counter(paths)
    twice = [n for n, path in zip(names, paths, strict=True) if uses[path] > 1]
    one = "give each a name of its own, or write captions.csv"
    require(not twice, f"images {twice[:2]}", "share one caption file", one)
    texts = []
    for path in paths:
        problem = f"caption {path} cannot be read"
        with refusing(problem, "write it as UTF-8 text", *DAMAGED):
            texts.append(path.read_text(encoding="utf-8-sig").strip())
    return tuple(texts)


def rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV file, or the objects of one with JSON in each line.

    What is no object is {}; `caption_of` finds nothing in it.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        if path.suffix == ".csv":
            yield from csv.DictReader(file)
            return
        for line in file:
            if line.strip():
                row = json.loads(line)
                yield row if isinstance(row, dict) else {}


def caption_of(row: Mapping[str, Any]) -> Any:
    """A row's caption, whichever of its two names it has; None without one."""
    return _entry(row, _CAPTION)


def _entry(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if name in row), None)
