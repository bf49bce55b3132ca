"""Near-duplicates by the distance of features, where pixels differ: crops, resamplings.

A candidate for non-membership is worth nothing if a copy of it, cropped, recompressed
or translated, is in the training set. Dubiński et al. 2024 (LAION-mi, 2306.12983) keep
a candidate only if the smallest Euclidean distance of its unit-norm CLIP features to
those of any image that may be in training is at least 0.5, a threshold they set by
looking at pairs: `Bins` draws such pairs to be judged, and counts the judgements.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from score_mia.check import UserError, finite, require, short
from score_mia.data.pools import Condition, Names, read_table, wanted
from score_mia.files import load_npz

_BLOCK = 2048  # rows of either side compared at a time: 32 MB of distances

PUBLISHED = 0.5
"""LAION-mi's threshold, of unit-norm CLIP ViT-L/14 features; for no other encoder."""


def unit(features: Float[np.ndarray, "n d"], what: str) -> Float[np.ndarray, "n d"]:
    """The rows at length 1, float64.

    Args:
      features: finite, none of them all zero.
      what: they are of, for messages.

    Raises:
      UserError: a NaN, an infinity, or a row of zeros, which has no direction.
    """
    finite(f"features of {what}", features)
    values = np.asarray(features, np.float64)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    none = int(np.sum(lengths == 0))
    problem = f"{none} of {len(values)} are zero throughout and have no direction"
    require(none == 0, f"features of {what}", problem, "choose another encoder")
    return values / lengths


class Nearest(NamedTuple):
    """The nearest neighbour of each candidate.

    Attributes:
      index: [n] row of the neighbour; -1 for a candidate that has none.
      distance: [n] Euclidean; NaN for a candidate that has none.
    """

    index: Int[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]


def nearest(
    candidates: Float[np.ndarray, "n d"], others: Float[np.ndarray, "m d"]
) -> Nearest:
    """Exact nearest neighbours by brute force, a block of products at a time.

    The neighbour is found by |a|² + |b|² - 2 a·b in float64, and its distance computed
    again as |a - b|, which is 0 for equal rows.

    Args:
      candidates: rows to find a neighbour for.
      others: rows to find it among, at least one.
    """
    require(len(others) > 0, "neighbours", "there are none", "give some images")
    sizes = np.einsum("md,md->m", others, others)
    index = np.empty(len(candidates), np.int64)
    for i in range(0, len(candidates), _BLOCK):
        block = candidates[i : i + _BLOCK]
        best = np.full(len(block), np.inf)
        own = index[i : i + _BLOCK]
        for j in range(0, len(others), _BLOCK):
            # |a|² is the same for every other, and changes no order.
            squared = sizes[j : j + _BLOCK] - 2 * (block @ others[j : j + _BLOCK].T)
            row = np.argmin(squared, axis=1)
            value = squared[np.arange(len(block)), row]
            closer = value < best
            own[closer], best[closer] = row[closer] + j, value[closer]
    return Nearest(index, np.linalg.norm(candidates - others[index], axis=1))


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """Neighbours that another search found, such as a public image index.

    Attributes:
      candidates, neighbours: [p] what the index calls them.
      distances: [p] that it tells; NaN where it tells none.
    """

    candidates: Sequence[str]
    neighbours: Sequence[str]
    distances: Float[np.ndarray, " p"]

    @staticmethod
    def read(path: str | Path, where: Mapping[str, Condition] | None = None) -> Index:
        """An index file: npz, or CSV or JSONL.

        Its arrays or columns are "candidate" and "neighbour", file names or ids, and,
        where it likes, "distance", empty or NaN where it is not known.

        Args:
          path: of the file.
          where: conditions on further columns, of CSV and JSONL only; rows that do not
            meet them are no neighbours.

        Raises:
          UserError: the file is damaged or lacks a column, or a distance is no number
            or negative.
        """
        owner = f"index {path}"
        if Path(path).suffix == ".npz":
            remedy = "give a CSV or JSONL file"
            require(not where, owner, "is npz, which has no further columns", remedy)
            return _from_npz(Path(path), owner)
        table = read_table(path, "index")
        keep = wanted(owner, table, where or {})
        columns: dict[str, list[Any]] = {}
        for name in ("candidate", "neighbour"):
            columns[name] = cells = [row.get(name) for row in table]
            bad = next((n for n, v in enumerate(cells, 1) if v in (None, "")), 0)
            remedy = "give each row a candidate and a neighbour, file names or ids"
            require(bad == 0, f"{owner}, row {bad}", f"has no {name!r}", remedy)
        told = [row.get("distance") for row in table]
        distances = np.asarray(
            [_number(f"{owner}, row {n}", v) for n, v in enumerate(told, 1)], np.float64
        )
        a, b = ([str(v) for v in columns[n]] for n in ("candidate", "neighbour"))
        kept = np.flatnonzero(keep)
        return Index([a[i] for i in kept], [b[i] for i in kept], distances[kept])

    def resolve(self, names: Names, candidates: Int[np.ndarray, " n"]) -> Pairs:
        """The pairs whose candidate is one of ours.

        Args:
          names: of the images of the data.
          candidates: ids, ascending.

        Raises:
          UserError: the index knows none of the candidates, or calls one its own
            neighbour.
        """
        ours = set(candidates.tolist())
        found = [names.find(entry) for entry in self.candidates]
        rows = [row for row, i in enumerate(found) if i in ours]
        problem = f"names none of {len(candidates)} candidates"
        first = short(self.candidates[0]) if len(self.candidates) else None
        remedy = f"its first is {first!r}, ours {names.shown(candidates[:1])[0]!r}"
        require(bool(rows), "index", problem, remedy)
        own = np.asarray([found[row] for row in rows], np.int64)
        others = [names.find(self.neighbours[row]) for row in rows]
        other = np.asarray([-1 if i is None else i for i in others], np.int64)
        same = int(np.sum(own == other))
        problem = f"calls {same} candidates their own neighbours"
        require(same == 0, "index", problem, "remove these rows")
        texts = tuple(self.neighbours[row] for row in rows)
        return Pairs(own, other, texts, self.distances[np.asarray(rows)])


class Pairs(NamedTuple):
    """Candidates beside neighbours.

    Attributes:
      candidates: [p] ids.
      neighbours: [p] ids; -1 for those that are not in the data.
      names: [p] what the index calls the neighbours.
      distances: [p]; NaN for those that are not known.
    """

    candidates: Int[np.ndarray, " p"]
    neighbours: Int[np.ndarray, " p"]
    names: tuple[str, ...]
    distances: Float[np.ndarray, " p"]

    @property
    def unmeasured(self) -> Int[np.ndarray, " q"]:
        """Rows whose distance is not told and can be measured."""
        return np.flatnonzero(np.isnan(self.distances) & (self.neighbours >= 0))

    def nearest(self, ids: Int[np.ndarray, " n"]) -> Nearest:
        """The closest pair of each candidate; a pair without a distance is none.

        Args:
          ids: of the candidates, ascending.
        """
        known = np.flatnonzero(~np.isnan(self.distances))
        order = known[np.lexsort((known, self.distances[known]))[::-1]]
        index, distance = np.full(len(ids), -1), np.full(len(ids), np.nan)
        # Of several rows of one candidate the last is the closest, and stays.
        place = np.searchsorted(ids, self.candidates[order])
        index[place], distance[place] = order, self.distances[order]
        return Nearest(index, distance)


def _from_npz(path: Path, owner: str) -> Index:
    arrays = load_npz(path, None, sealed=False, remedy="write it with np.savez")
    remedy = 'give arrays "candidate" and "neighbour" and, if known, "distance"'
    for name in ("candidate", "neighbour"):
        require(name in arrays, owner, f"holds {sorted(arrays)}", remedy)
    shape = arrays["candidate"].shape
    columns = {n: arrays[n] for n in arrays if n in ("candidate", "neighbour")}
    told = np.asarray(arrays.get("distance", np.full(shape, np.nan)))
    for name, column in {**columns, "distance": told}.items():
        kinds = "f" if name == "distance" else "iuU"
        ok = column.shape == shape and len(shape) == 1 and column.dtype.kind in kinds
        require(ok, owner, f"{name} is {column.dtype} {column.shape}", remedy)
    for number, value in enumerate(told.tolist()):
        _number(f"{owner}, entry {number}", value)
    a, b = ([str(v) for v in columns[n]] for n in ("candidate", "neighbour"))
    return Index(a, b, told.astype(np.float64))


def _number(owner: str, value: Any) -> float:
    """A distance as a number; NaN for an empty cell."""
    if value is None or str(value).strip() == "":
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    ok = math.isnan(number) or 0 <= number < math.inf
    problem = f"distance {short(str(value))!r} is no distance"
    require(ok, owner, problem, "give a number from 0 on, or leave it out")
    return number


# --- which distance means a duplicate -------------------------------------------------

YES, NO = ("yes", "y", "1", "true"), ("no", "n", "0", "false")


@dataclasses.dataclass(frozen=True)
class Bins:
    """Intervals of distance, [edge, next edge), in which pairs are judged.

    Attributes:
      edges: ascending.
    """

    edges: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)

    def __post_init__(self) -> None:
        ok = len(self.edges) >= 2 and bool(np.all(np.diff(self.edges) > 0))
        remedy = "give two or more ascending distances"
        require(ok, f"bins={self.edges!r}", "are no bins", remedy)

    @property
    def names(self) -> list[str]:
        """Of the bins, as a table shows them."""
        ends = zip(self.edges[:-1], self.edges[1:], strict=True)
        return [f"{low:g} to {high:g}" for low, high in ends]

    def of(self, distances: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The bin of each distance; -1 outside of all, and for NaN."""
        place = np.searchsorted(self.edges, distances, side="right") - 1
        outside = (place >= len(self.edges) - 1) | np.isnan(distances)
        return np.where(outside, -1, place)

    def sample(
        self, distances: Float[np.ndarray, " n"], most: int, seed: int
    ) -> Int[np.ndarray, " k"]:
        """Rows at random, at most so many of each bin, bin by bin."""
        bins = self.of(distances)
        chosen = [np.zeros(0, np.int64)]
        for number in range(len(self.edges) - 1):
            rows = np.flatnonzero(bins == number)
            random = np.random.RandomState((seed, number))
            chosen.append(np.sort(random.permutation(rows)[:most]))
        return np.concatenate(chosen)


def judged(owner: str, value: Any) -> bool | None:
    """What a person wrote of a pair: whether it is a duplicate; None for nothing yet.

    Raises:
      UserError: it is neither yes nor no.
    """
    text = str("" if value is None else value).strip().lower()
    if not text:
        return None
    if text not in (*YES, *NO):
        raise UserError(
            f"{owner}: duplicate={short(text)!r} is no answer; write yes or no, or "
            "leave it empty"
        )
    return text in YES
