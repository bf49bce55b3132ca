"""Near-duplicates among many rows: none is missed, and an index says what it misses."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data import near, search
from score_mia.data.duplicates import nearest, unit

WIDTH = 16


def planted(count, copies, seed=0, apart=0.05):
    """Rows of which the last repeat the first, nearly."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, WIDTH)).astype(np.float32)
    step = random.standard_normal((copies, WIDTH))
    step *= apart / np.linalg.norm(step, axis=1, keepdims=True)
    rows[-copies:] = rows[:copies] + step
    return rows


def pairs(found):
    return {pair for a, b in found for pair in zip(a.tolist(), b.tolist(), strict=True)}


def boxed(rows, like=None):
    return near.boxes(lambda i, j: rows[i:j], len(rows), like)


def test_planted_pairs_are_found_among_many():
    count, copies = 25_000, 40
    rows, limit = planted(count, copies), 0.06**2
    want = {(i, count - copies + i) for i in range(copies)}
    assert pairs(near.within(boxed(rows), limit)) == want
    # The same across the border of two groups.
    half = count // 2
    one = boxed(rows[:half])
    found = pairs(near.across(one, boxed(rows[half:], one), limit))
    assert found == {(a, b - half) for a, b in want}


@pytest.mark.parametrize("box", [64, 1024])
@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_all_pairs_of_a_loop_are_among_them(box, scale, monkeypatch):
    monkeypatch.setattr(near, "BOX", box)
    monkeypatch.setattr(near, "DIMENSIONS", 8)
    rows = scale * planted(5000, 300, 1, 0.3)
    limit = float((0.4 * scale) ** 2)
    apart = np.sum(rows**2, axis=1)[:, None] + np.sum(rows**2, axis=1)
    apart -= 2 * rows @ rows.T
    a, b = np.nonzero(np.triu(apart <= limit, 1))
    want = set(zip(a.tolist(), b.tolist(), strict=True))
    assert len(want) >= 300
    found = near.within(boxed(rows), limit)
    both = [np.concatenate(side) for side in zip(*found, strict=True)]
    assert len(set(zip(*map(np.ndarray.tolist, both), strict=True))) == len(both[0])
    assert want <= pairs([both])


def test_boxes_are_small_and_hold_their_rows():
    rows = planted(5000, 10)
    made = boxed(rows)
    sizes = np.diff(made.starts)
    assert sizes.max() <= near.BOX
    assert sizes.sum() == 5000
    assert sorted(made.order.tolist()) == list(range(5000))
    assert made.rows.nbytes == 2 * WIDTH * 5000
    for i in range(len(made)):
        _, own = made.box(i)
        assert np.all((own >= made.low[i]) & (own <= made.high[i]))


def test_equal_rows_are_pairs_at_a_limit_of_nothing():
    rows = np.repeat(planted(3, 1, apart=1.0), 2, axis=0)
    assert pairs(near.within(boxed(rows), 0.0)) == {(0, 1), (2, 3), (4, 5)}


# --- the index ---


def two(count, copies):
    rows = unit(planted(2 * count, copies), "rows")
    return rows[:count], rows[count:]


def test_few_rows_are_searched_exactly():
    candidates, others = two(200, 5)
    found = search.search(candidates, others, at=0.1)
    assert found.by == "exact search"
    assert found.recall is None
    np.testing.assert_array_equal(found.nearest.index, nearest(candidates, others)[0])


def test_the_index_is_the_exact_search_where_a_copy_is(monkeypatch):
    pytest.importorskip("faiss")
    candidates, others = two(5000, 50)
    exact = nearest(candidates, others)
    monkeypatch.setattr(search, "EXACT", 10)
    found = search.search(candidates, others, at=0.1)
    assert "index of faiss" in found.by
    share, copies = found.recall
    assert copies == search.PLANTED
    assert share > 0.98
    near_ones = exact.distance < 0.1
    assert near_ones.sum() >= 50
    np.testing.assert_array_equal(found.nearest.distance < 0.1, near_ones)
    index = found.nearest.index[near_ones]
    np.testing.assert_array_equal(index, exact.index[near_ones])
    again = search.search(candidates, others, at=0.1)
    np.testing.assert_array_equal(again.nearest.index, found.nearest.index)
    assert again.recall == found.recall


@pytest.mark.slow
def test_the_index_finds_copies_among_many():
    pytest.importorskip("faiss")
    candidates, others = two(25_000, 50)
    found = search.search(candidates, others, at=0.1)
    assert "index of faiss" in found.by
    assert np.all(found.nearest.distance[:50] < 0.1)
    assert found.nearest.index[:50].tolist() == list(range(24_950, 25_000))


def test_many_rows_without_the_index_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    monkeypatch.setattr(search, "EXACT", 10)
    candidates, others = two(20, 2)
    with pytest.raises(UserError, match=r"10 x 10 pairs needs faiss.*\[index"):
        search.search(candidates, others, at=0.1)
