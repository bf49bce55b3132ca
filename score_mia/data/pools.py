"""Pools of images: some of a source's, by folder or by a list and its columns.

A list of images with more to say of each (its language, its aesthetic score, where it
was found) is a CSV file or one JSON object a line; `Condition` says which of them are
wanted.
"""

from __future__ import annotations

import csv
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from score_mia.check import did_you_mean, existing, refusing, require, short
from score_mia.data.captions import rows
from score_mia.data.lists import Listed, inside, listed_ids
from score_mia.data.source import Source
from score_mia.files import DAMAGED
from score_mia.registry import section

TABLES = (".csv", ".jsonl")
"""Lists whose rows have columns."""

IMAGE = ("file", "file_name", "id")
"""The column that says which image a row is about: the first of these that is there."""

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Condition:
    """What one column of a list must say of an image; an empty cell never does.

    Attributes:
      among: the values wanted, as texts; None for any.
      above, below: bounds of a number, exclusive; None for none.
    """

    among: tuple[str, ...] | None = None
    above: float | None = None
    below: float | None = None

    def __post_init__(self) -> None:
        wanted = (self.among, self.above, self.below) != (None, None, None)
        remedy = "give among=(...), above=... or below=..."
        require(wanted, "condition", "asks for nothing", remedy)

    def holds(self, thing: str, value: Any) -> bool:
        """Whether a cell is as wanted.

        Args:
          thing: what the cell is, for the message.
          value: of the cell; None or an empty text for none.

        Raises:
          UserError: bounds are given and the cell is no number.
        """
        text = "" if value is None else str(value).strip()
        if not text or (self.among is not None and text not in self.among):
            return False
        if self.above is None and self.below is None:
            return True
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        remedy = "give a number, or leave the cell empty"
        require(math.isfinite(number), thing, f"is {short(text)!r}, no number", remedy)
        low = -math.inf if self.above is None else self.above
        high = math.inf if self.below is None else self.below
        return low < number < high


Where = Mapping[str, Any]
"""Column -> the fields of a `Condition`."""


def conditions(where: Where) -> dict[str, Condition]:
    """What is wanted of each column, from a config's mapping."""
    for name, fields in where.items():
        ok = isinstance(fields, Mapping)
        remedy = "give dict(among=...), dict(above=...) or dict(below=...)"
        require(ok, f"condition on {name!r}", f"is {fields!r}", remedy)
    return {n: section("condition on", n, Condition, f) for n, f in where.items()}


def wanted(
    owner: str, table: Sequence[Row], where: Mapping[str, Condition]
) -> Bool[np.ndarray, " n"]:
    """Which rows meet every condition.

    Raises:
      UserError: a column that the table does not have, or a cell that is no number.
    """
    known = {name for row in table for name in row}
    for name in where:
        require(name in known, owner, f"has no column {name!r}", _known(known))
    keep = [
        all(
            one.holds(f"{owner}, row {number}, {name}", row.get(name))
            for name, one in where.items()
        )
        for number, row in enumerate(table, 1)
    ]
    return np.asarray(keep, bool)


def _known(columns: Iterable[Any]) -> str:
    return did_you_mean("", map(str, columns))


def read_table(path: str | Path, what: str) -> list[Row]:
    """The rows of a CSV file, or of one JSON object a line; at least one.

    Args:
      path: of the file.
      what: it is, for messages.

    Raises:
      UserError: it is missing, damaged, or holds no row.
    """
    path = existing(path, what)
    remedy = "give a CSV file with a header, or one JSON object a line"
    with refusing(f"{what} {path} cannot be read", remedy, csv.Error, *DAMAGED):
        table = list(rows(path))
    require(bool(table), f"{what} {path}", "holds no row", remedy)
    return table


@dataclasses.dataclass(frozen=True, eq=False)
class Names:
    """What lists call the images of a source: their files' names, or their ids.

    Attributes:
      ids: of all images, ascending.
      files: their names; () where the source has none.
    """

    ids: Int[np.ndarray, " n"]
    files: tuple[str, ...]

    @staticmethod
    def of(source: Source) -> Names:
        """Those of a source."""
        known = source.columns(source.ids, ("file",)).get("file", ())
        return Names(source.ids, tuple(str(name) for name in known))

    @cached_property
    def _table(self) -> dict[str, int]:
        ids = self.ids.tolist()
        return {str(i): i for i in ids} | dict(zip(self.files, ids, strict=False))

    def find(self, entry: object) -> int | None:
        """The id of an image by its file's name or its id; None if it is not there."""
        text = str(entry)
        return self._table.get(text, self._table.get(text.strip()))

    @cached_property
    def readable(self) -> bool:
        """Whether a text file of names, one a line, would be read back as they are."""
        whole = all(name == name.strip() and name.isprintable() for name in self.files)
        return bool(self.files) and whole and len(set(self.files)) == len(self.files)

    def shown(self, ids: Int[np.ndarray, " k"]) -> list[str]:
        """File names where a list can hold them, ids otherwise."""
        if not self.readable:
            return [str(i) for i in ids.tolist()]
        return [self.files[i] for i in np.searchsorted(self.ids, ids).tolist()]


class Chosen(NamedTuple):
    """The images of a pool.

    Attributes:
      every: [N] ids of all that were named and are in the data, ascending.
      ids: [K] of those that meet the conditions.
      missing: how many were named and are not in the data.
    """

    every: Int[np.ndarray, " n"]
    ids: Int[np.ndarray, " k"]
    missing: int


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Some of the data's images.

    Attributes:
      folder: relative to that of the data; those below it count as well. None for a
        list.
      listed: a CSV or JSONL file with a column `file` (or `file_name`) or `id`; or a
        list as the split "files" takes it. None for a folder.
      where: column -> what it must say of an image: `dict(among=("en",))`,
        `dict(above=5.0)`, `dict(below=1.0)`; of a CSV or JSONL file only.
      missing: whether listed images that the data do not hold (dead links) are passed
        over; they are refused otherwise.
    """

    folder: str | None = None
    listed: Listed | None = None
    where: Where = dataclasses.field(default_factory=dict)
    missing: bool = False

    def __post_init__(self) -> None:
        one = (self.folder is None) != (self.listed is None)
        remedy = 'give folder="..." or listed="...", and not both'
        require(one, "pool", "is neither a folder nor a list", remedy)
        table = self.folder is None and _is_table(self.listed)
        problem = "asks for columns, which only a CSV or JSONL file has"
        remedy = f"give listed=FILE with the column {next(iter(self.where), '')!r}"
        require(table or not self.where, "pool", problem, remedy)
        conditions(self.where)

    def choose(self, source: Source, role: str) -> Chosen:
        """The pool's images.

        Args:
          source: the data.
          role: what the pool is, for messages: "members".

        Raises:
          UserError: no image, an image twice, one that is not in the data, a list that
            is damaged, or a column that it does not have.
        """
        names, listed = Names.of(source), self.listed
        if listed is None:
            return self._of_folder(source, names, role)
        if _is_table(listed):
            return self._of_table(Path(str(listed)), names, role)
        ids = listed_ids(listed, role, source)
        there = np.isin(ids, source.ids)
        return self._chosen(role, ids[there], ids[there], int(np.sum(~there)))

    def _of_folder(self, source: Source, names: Names, role: str) -> Chosen:
        remedy = 'give data=dict(name="folder"), or listed=...'
        require(bool(names.files), f"{role}.folder", "the data have no files", remedy)
        ids = inside(source.ids, np.asarray(names.files), str(self.folder))
        owner = f"{role}.folder={self.folder!r}"
        remedy = f"give a folder such as {names.files[0]!r}'s"
        require(len(ids) > 0, owner, "holds no image of the data", remedy)
        return Chosen(ids, ids, 0)

    def _of_table(self, path: Path, names: Names, role: str) -> Chosen:
        table = read_table(path, role)
        owner = f"{role} {path}"
        key = next((name for name in IMAGE if name in table[0]), "")
        problem, remedy = f"has no column {' or '.join(IMAGE)}", _known(table[0])
        require(key != "", owner, problem, remedy)
        found = [names.find(row.get(key)) for row in table]
        keep = wanted(owner, table, conditions(self.where))
        pairs = [(i, ok) for i, ok in zip(found, keep, strict=True) if i is not None]
        every = np.asarray([i for i, _ in pairs], np.int64)
        ids = np.asarray([i for i, ok in pairs if ok], np.int64)
        twice = len(every) - len(np.unique(every))
        require(twice == 0, owner, f"repeats {twice} images", "list each once")
        return self._chosen(role, every, ids, len(table) - len(every))

    def _chosen(
        self, role: str, every: np.ndarray, ids: np.ndarray, missing: int
    ) -> Chosen:
        problem = f"{missing} of them are not in the data"
        remedy = "give file names or ids of the data, or say missing=True"
        require(missing == 0 or self.missing, f"{role}.listed", problem, remedy)
        problem = f"none of {len(every)} images meets the conditions"
        problem = problem if self.where else "is empty"
        require(len(ids) > 0, f"{role}", problem, "give a larger list, or ask for less")
        return Chosen(np.sort(every), np.sort(ids), missing)


def _is_table(listed: Listed | None) -> bool:
    return isinstance(listed, str | Path) and Path(listed).suffix in TABLES
