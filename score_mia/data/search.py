"""Nearest neighbours among many: exact among few, by an index of faiss among more.

The index (IVF: Jégou, Douze & Schmid 2011; Johnson, Douze & Jégou 2019) puts the rows
into cells around k-means' centres and looks into the cells that are nearest to a
candidate, so it may miss a neighbour. How seldom is measured each time, on copies
planted as far from a row as still counts as a duplicate, and is said beside the result.

Near-duplicates by pixels need no index: `data.near` misses none.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from score_mia.check import UserError, extra
from score_mia.data.duplicates import Nearest, nearest

EXACT = 20_000
"""Rows of either side up to which all pairs are compared (or as many pairs)."""

PLANTED = 1000
"""Copies by which an index's recall is measured."""

_CELLS = 4.0  # times the root of how many rows there are
_LOOKED = 32  # cells that are looked into for each candidate
_LEARNT = 64  # rows for each cell that the centres are learnt of
_BLOCK = 8192  # candidates at a time


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The neighbours, and how they were found.

    Attributes:
      nearest: of each candidate.
      by: in words.
      recall: share of planted copies that were found, and how many there were; None for
        an exact search, which finds all.
    """

    nearest: Nearest
    by: str
    recall: tuple[float, int] | None = None


def search(
    candidates: Float[np.ndarray, "n d"],
    others: Float[np.ndarray, "m d"],
    *,
    at: float,
    seed: int = 0,
) -> Found:
    """The nearest neighbour of each candidate.

    Args:
      candidates, others: rows of length 1 (`duplicates.unit`).
      at: distance below which a pair counts as duplicates; copies are planted there.
      seed: of the cells' centres and of the copies.

    Raises:
      UserError: there are more than `EXACT` rows of either side, and no faiss.
    """
    if is_few(len(candidates), len(others)):
        return Found(nearest(candidates, others), "exact search")
    library = faiss()
    with _one_thread(library):
        index = _indexed(library, np.asarray(others, np.float32), seed)
        found = _asked(index, candidates, others)
        recall = _recall(index, others, at, seed)
    cells, looked = index.nlist, min(_LOOKED, index.nlist)
    by = f"index of faiss {library.__version__}, {looked} of {cells} cells"
    return Found(found, by, recall)


def is_few(candidates: int, others: int) -> bool:
    """Whether so many rows of either side are compared pair by pair."""
    return candidates * others <= EXACT**2


def faiss() -> Any:
    """The package; `UserError` naming the extra where it is missing."""
    try:
        import faiss
    except ImportError as error:
        problem = f"a search among more than {EXACT:,} x {EXACT:,} pairs"
        raise UserError(f"{problem} needs faiss; {extra('index')}") from error
    return faiss


@contextlib.contextmanager
def _one_thread(library: Any) -> Iterator[None]:
    """Sums in one order: the same cells on every start."""
    before = library.omp_get_max_threads()
    library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(before)


def _indexed(library: Any, rows: np.ndarray, seed: int) -> Any:
    cells = max(1, round(_CELLS * len(rows) ** 0.5))
    width = rows.shape[1]
    index = library.IndexIVFFlat(library.IndexFlatL2(width), width, cells)
    index.cp.seed, index.cp.niter = 1 + seed % 2**30, 10
    index.cp.max_points_per_centroid = _LEARNT
    some = np.random.default_rng([seed, 0]).permutation(len(rows))[: _LEARNT * cells]
    index.train(np.ascontiguousarray(rows[np.sort(some)]))
    for start in range(0, len(rows), _BLOCK):
        index.add(np.ascontiguousarray(rows[start : start + _BLOCK]))
    index.nprobe = min(_LOOKED, cells)
    return index


def _asked(index: Any, candidates: np.ndarray, others: np.ndarray) -> Nearest:
    """The index's neighbours, and their distances by the rows themselves."""
    places = np.empty(len(candidates), np.int64)
    distances = np.empty(len(candidates))
    for start in range(0, len(candidates), _BLOCK):
        block = candidates[start : start + _BLOCK]
        own = slice(start, start + len(block))
        places[own] = index.search(np.asarray(block, np.float32), 1)[1][:, 0]
        distances[own] = np.linalg.norm(block - others[places[own]], axis=1)
    return Nearest(places, distances)


def _recall(index: Any, others: np.ndarray, at: float, seed: int) -> tuple[float, int]:
    """Share of copies at a distance for which no farther row is given."""
    random = np.random.default_rng([seed, 1])
    count = min(PLANTED, len(others))
    rows = others[np.sort(random.choice(len(others), count, replace=False))]
    aside = random.standard_normal(rows.shape)
    aside -= np.sum(aside * rows, axis=1, keepdims=True) * rows
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    # On the sphere: the chord of length `at` spans an angle of 2 arcsin(at / 2).
    angle = 2 * np.arcsin(min(at, 2.0) / 2)
    copies = np.cos(angle) * rows + np.sin(angle) * aside
    found = _asked(index, copies, others)
    return float(np.mean(found.distance <= at + 1e-6)), count
