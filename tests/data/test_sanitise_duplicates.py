"""Near-duplicates by features: exact search, index files, bins of judged pairs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_mia.check import UserError
from score_mia.data import duplicates
from score_mia.data.duplicates import Bins, Index, judged, nearest, unit
from score_mia.data.pools import Names, conditions

NAMES = Names(np.arange(6), ("a/0", "a/1", "a/2", "b/3", "b/4", "b/5"))


def brute_force(candidates, others):
    """(row, distance) of the nearest other, pair by pair."""
    result = []
    for a in candidates:
        distances = [float(np.sqrt(np.sum((a - b) ** 2))) for b in others]
        result.append(min(range(len(others)), key=distances.__getitem__))
    return result, [
        np.sqrt(np.sum((a - others[j]) ** 2))
        for a, j in zip(candidates, result, strict=True)
    ]


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 6), st.integers(0, 2**16))
def test_the_nearest_are_those_of_a_loop(n, m, d, seed):
    random = np.random.RandomState(seed)
    candidates, others = random.randn(n, d), random.randn(m, d)
    planted = random.randint(0, m, n)
    copies = random.rand(n) < 0.5
    candidates[copies] = others[planted[copies]]
    candidates, others = unit(candidates, "a"), unit(others, "b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK", 7)
        found = nearest(candidates, others)
    rows, distances = brute_force(candidates, others)
    np.testing.assert_allclose(found.distance, distances, rtol=0, atol=1e-12)
    assert np.all(found.distance[copies] == 0)
    if d > 1:  # of unit vectors in one dimension there are two: all are ties
        np.testing.assert_array_equal(others[found.index], others[rows])


def test_the_distance_of_directions_ignores_their_length():
    a = unit(np.asarray([[2.0, 0], [0, 5]]), "a")
    found = nearest(a, unit(np.asarray([[0.1, 0]]), "b"))
    np.testing.assert_allclose(found.distance, [0, np.sqrt(2)])


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ([[1.0, np.nan]], "features of x: holds 1 NaN"),
        ([[1.0, np.inf]], "features of x: holds 1 NaN or infinite"),
        ([[1.0, 1.0], [0.0, 0.0]], "features of x: 1 of 2 are zero throughout"),
    ],
)
def test_features_without_a_direction_are_refused(features, words):
    with pytest.raises(UserError, match=words):
        unit(np.asarray(features), "x")


ROWS = [
    ("a/0", "b/3", 0.4, "en"),
    ("a/0", "b/4", 0.2, "de"),
    ("a/0", "b/5", 0.3, "en"),
    ("a/1", "elsewhere", 0.7, "en"),
    ("a/1", "b/3", "", "en"),
    ("a/2", "dead", "", "en"),
    ("unknown", "b/3", 0.1, "en"),
]
FIELDS = ("candidate", "neighbour", "distance", "language")


def index_file(folder, kind, rows=ROWS, fields=FIELDS):
    path = folder / f"index.{kind}"
    if kind == "csv":
        lines = [",".join(map(str, row)) for row in (fields, *rows)]
        path.write_text("\n".join(lines) + "\n")
    elif kind == "jsonl":
        objects = [dict(zip(fields, row, strict=True)) for row in rows]
        path.write_text("\n".join(map(json.dumps, objects)))
    else:
        a, b, distance, _ = zip(*rows, strict=True)
        numbers = [np.nan if d == "" else d for d in distance]
        np.savez(path, candidate=a, neighbour=b, distance=np.asarray(numbers))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "npz"])
def test_an_index_gives_the_closest_pair_of_each_candidate(tmp_path, kind):
    pairs = Index.read(index_file(tmp_path, kind)).resolve(NAMES, np.arange(3))
    assert pairs.candidates.tolist() == [0, 0, 0, 1, 1, 2]
    assert pairs.neighbours.tolist() == [3, 4, 5, -1, 3, -1]
    assert pairs.unmeasured.tolist() == [4]  # a dead link cannot be measured
    near = pairs.nearest(np.arange(3))
    np.testing.assert_array_equal(near.distance, [0.2, 0.7, np.nan])
    assert near.index.tolist() == [1, 3, -1]
    pairs.distances[4] = 0.6  # measured, and closer than what the index tells
    assert pairs.nearest(np.arange(3)).distance[1] == 0.6


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_neighbours_count_on_their_terms_only(tmp_path, kind):
    where = conditions({"language": {"among": ("en",)}})
    index = Index.read(index_file(tmp_path, kind), where)
    near = index.resolve(NAMES, np.arange(3)).nearest(np.arange(3))
    assert near.distance[0] == 0.3  # 0.2 is a German caption's


@pytest.mark.parametrize(
    ("kind", "rows", "fields", "where", "words"),
    [
        ("csv", [], FIELDS, {}, "holds no row"),
        ("csv", [("a/0", "b/3")], ("candidate", "x"), {}, "row 1: has no 'neighbour'"),
        ("csv", [("", "b/3", 1, "en")], FIELDS, {}, "row 1: has no 'candidate'"),
        ("csv", [("a/0", "b/3", "far", "en")], FIELDS, {}, "row 1: distance 'far'"),
        ("csv", [("a/0", "b/3", -1, "en")], FIELDS, {}, "row 1: distance '-1'"),
        ("csv", [("a/0", "b/3", "inf", "en")], FIELDS, {}, "row 1: distance 'inf'"),
        ("csv", ROWS, FIELDS, {"lang": {"among": ("en",)}}, "has no column 'lang'"),
        ("csv", [("x", "b/3", 1, "en")], FIELDS, {}, "names none of 3 candidates"),
        ("csv", [("a/0", "a/0", 1, "en")], FIELDS, {}, "calls 1 candidates their own"),
        ("npz", ROWS, FIELDS, {"language": {"among": ("en",)}}, "no further columns"),
        ("npz", [("a/0", "b/3", -1.0, "")], FIELDS, {}, "entry 0: distance '-1.0'"),
    ],
)
def test_a_bad_index_is_refused(tmp_path, kind, rows, fields, where, words):
    path = index_file(tmp_path, kind, rows, fields)
    with pytest.raises(UserError) as caught:
        Index.read(path, conditions(where)).resolve(NAMES, np.arange(3))
    assert words in str(caught.value)
    assert str(caught.value).startswith("index")


def test_damaged_and_foreign_index_files_are_refused(tmp_path):
    path = tmp_path / "index.npz"
    path.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="damaged"):
        Index.read(path)
    np.savez(path, candidate=["a/0"])
    with pytest.raises(UserError, match="give arrays"):
        Index.read(path)
    np.savez(path, candidate=["a/0"], neighbour=["b/3", "b/4"])
    with pytest.raises(UserError, match="neighbour is"):
        Index.read(path)
    with pytest.raises(UserError, match="does not exist"):
        Index.read(tmp_path / "none.csv")


def test_bins_hold_their_lower_edge():
    bins = Bins((0.0, 0.1, 0.5))
    distances = np.asarray([0.0, np.nextafter(0.1, 0), 0.1, 0.5, np.nan, 3.0])
    assert bins.of(distances).tolist() == [0, 0, 1, -1, -1, -1]
    assert bins.names == ["0 to 0.1", "0.1 to 0.5"]
    with pytest.raises(UserError, match="are no bins"):
        Bins((0.1, 0.1))


def test_pairs_are_drawn_from_each_bin_and_again_the_same():
    random = np.random.RandomState(0)
    distances, bins = random.rand(500), Bins((0.0, 0.01, 0.5, 1.0))
    drawn = bins.sample(distances, 20, 3)
    assert len(set(drawn.tolist())) == len(drawn)
    counts = np.bincount(bins.of(distances)[drawn]).tolist()
    assert counts == [int(np.sum(distances < 0.01)), 20, 20]
    np.testing.assert_array_equal(drawn, bins.sample(distances, 20, 3))
    assert drawn.tolist() != bins.sample(distances, 20, 4).tolist()


@pytest.mark.parametrize(
    ("text", "answer"),
    [("yes", True), (" No ", False), ("1", True), ("0", False), ("", None)],
)
def test_what_a_person_writes(text, answer):
    assert judged("row 1", text) is answer


def test_what_is_no_answer_is_refused():
    with pytest.raises(UserError, match="row 1: duplicate='maybe' is no answer"):
        judged("row 1", "maybe")
