"""The lists of LAION-mi: an address and a caption for each image.

They are released as two parquet files, of members (13,396 rows) and of non-members
(26,874), with the columns `url` and `caption`. The names in LAION's own tables (`URL`,
`TEXT`) are known too, and a table may be csv, tsv, jsonl or parquet. The released files
themselves have not been read with this code.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from score_mia.check import UserError, existing, refusing, require
from score_mia.data.captions import rows
from score_mia.files import DAMAGED
from score_mia.papers.captioned import clean

_URL, _CAPTION = ("url", "URL"), ("caption", "TEXT")
KINDS = (".csv", ".tsv", ".jsonl", ".parquet")
"""What a list's name may end in."""


@dataclasses.dataclass(frozen=True)
class Link:
    """One row: where an image was, and its caption, in one line."""

    url: str
    caption: str


def read(path: str | Path) -> tuple[Link, ...]:
    """The rows of a list; of an address that comes twice, the first.

    Raises:
      UserError: no such file, a damaged one, of another kind, a row without an address
        or a caption, no rows, or a parquet file without the package pyarrow.
    """
    path = existing(path, "list")
    known = ", ".join(KINDS)
    remedy = f"give a file of {known}"
    require(path.suffix in KINDS, f"list {path}", "is of an unknown kind", remedy)
    links: dict[str, Link] = {}
    remedy = "give the released file, or one with the columns url and caption"
    problem = f"list {path} cannot be read"
    with refusing(problem, remedy, csv.Error, *DAMAGED):
        for number, row in enumerate(_rows(path), 1):
            url, caption = _entry(row, _URL), _entry(row, _CAPTION)
            what = f"list {path}, row {number}"
            require(bool(url), what, f"has no {' or '.join(_URL)}", remedy)
            require(bool(caption), what, f"has no {' or '.join(_CAPTION)}", remedy)
            links.setdefault(url, Link(url, caption))
    require(bool(links), f"list {path}", "holds no rows", remedy)
    return tuple(links.values())


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if path.suffix == ".parquet":
        return _parquet(path)
    return _tabs(path) if path.suffix == ".tsv" else rows(path)


def _tabs(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file, delimiter="\t")


def _parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError(
            f"list {path}: needs the package pyarrow, which is not installed; install "
            "it (pip install pyarrow), or give the list as csv"
        ) from error
    remedy = "fetch it again from its host"
    damaged = (pyarrow.ArrowException, *DAMAGED)
    with (
        refusing(f"list {path} cannot be read", remedy, *damaged),
        pyarrow.parquet.ParquetFile(path) as file,
    ):
        columns = {*_URL, *_CAPTION} & {*file.schema_arrow.names}
        for batch in file.iter_batches(columns=sorted(columns)):
            yield from batch.to_pylist()


def _entry(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The first of the columns that is there, as one line; empty if it is no text."""
    value = next((row[name] for name in names if name in row), None)
    return clean(value) if isinstance(value, str) else ""
