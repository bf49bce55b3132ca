"""Captions of a folder's images, from a file that lies among them."""

from __future__ import annotations

import csv
import json
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
    """The caption of each image, or None where the folder has neither of `FILES`.

    Args:
      folder: where the images are.
      names: their paths relative to it, with "/" between the parts.

    Raises:
      UserError: both files are there, the one that is there is damaged or lacks a
        caption (the first image without one is named), or names an image twice.
    """
    paths = [folder / name for name in FILES if (folder / name).is_file()]
    if not paths:
        return None
    require(len(paths) == 1, f"folder {folder}", f"holds {FILES}", "remove one of them")
    (path,) = paths
    remedy = "give each image one line with its file and caption, or move it away"
    table: dict[str, str] = {}
    with refusing(f"{path} cannot be read", remedy, csv.Error, *DAMAGED):
        for number, row in enumerate(_rows(path), 1):
            name, text = _entry(row, _FILE), _entry(row, _CAPTION)
            known = isinstance(name, str) and isinstance(text, str)
            what = f"{path}, entry {number}"
            require(known, what, f"has no {' or '.join(_CAPTION)} of a file", remedy)
            require(name not in table, what, f"names {name!r} again", remedy)
            table[name] = text
    missing = [name for name in names if name not in table]
    require(not missing, f"{path}", f"has no caption of {missing[:1]}", remedy)
    return tuple(table[name] for name in names)


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        if path.suffix == ".csv":
            yield from csv.DictReader(file)
            return
        for line in file:
            if line.strip():
                row = json.loads(line)
                yield row if isinstance(row, dict) else {}


def _entry(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if name in row), None)
