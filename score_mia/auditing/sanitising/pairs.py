"""Pairs for a person to judge: which distance means a duplicate, of this encoder.

pairs.csv    bin, candidate, neighbour, distance, and `duplicate`, to be filled in
pairs.html   the same in pictures, only where the config asks for it
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.check import require
from score_mia.data.duplicates import Bins, judged
from score_mia.data.pools import read_table
from score_mia.files import write_atomic
from score_mia.metrics.intervals import proportion
from score_mia.results import Estimate

FILE = "pairs.csv"
_COLUMNS = ("bin", "candidate", "neighbour", "distance", "duplicate")


@dataclasses.dataclass(frozen=True)
class Share:
    """Of the judged pairs of one bin, those that are duplicates.

    Attributes:
      bin: its name.
      judged, duplicates: how many.
      share: with its exact binomial interval (Clopper-Pearson); None without a pair.
    """

    bin: str
    judged: int
    duplicates: int
    share: Estimate | None


def keep_pairs(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write pairs.csv, unless it holds judgements: those of the same pairs stay.

    Args:
      folder: the workdir.
      rows: with all columns but the last.

    Raises:
      UserError: it holds judgements of other pairs.
    """
    path = folder / FILE
    old = read_table(path, "pairs") if path.exists() and path.stat().st_size else []
    if any(judged(f"{path}", row.get("duplicate")) is not None for row in old):
        same = not rows or [*map(_pair, old)] == [*map(_pair, rows)]
        remedy = "move it away, and name it as report.judged if it still counts"
        require(same, f"{path}", "holds judgements of other pairs", remedy)
        return
    if not rows:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, lambda file: file.write(text.getvalue().encode()))


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("candidate")), str(row.get("neighbour"))


def shares(path: Path, bins: Bins, level: float) -> list[Share]:
    """What people said of the pairs in a file, bin by bin.

    Args:
      path: pairs.csv, or a copy of it.
      bins: of the distances.
      level: of the intervals.

    Raises:
      UserError: the file is damaged, lacks a column, holds an answer that is neither
        yes nor no, or a distance that is no number.
    """
    table = read_table(path, "pairs")
    for name in ("distance", "duplicate"):
        there = all(name in row for row in table)
        remedy = f"give a copy of {FILE}, with its columns"
        require(there, f"pairs {path}", f"has no column {name!r}", remedy)
    answers, distances = [], []
    for number, row in enumerate(table, 1):
        owner = f"pairs {path}, row {number}"
        answers.append(judged(owner, row["duplicate"]))
        text = str(row["distance"])
        number_like = text.replace(".", "", 1).replace("e-", "", 1).isdecimal()
        remedy = "leave that column as it was written"
        require(number_like, owner, f"distance {text!r} is no number", remedy)
        distances.append(float(text))
    place = bins.of(np.asarray(distances))
    result = []
    for number, name in enumerate(bins.names):
        own = [a for a, b in zip(answers, place, strict=True) if b == number]
        n, k = sum(a is not None for a in own), sum(a is True for a in own)
        result.append(Share(name, n, k, proportion(k, n, level) if n else None))
    return result
