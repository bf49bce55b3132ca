"""Pools by folder and by list, with conditions on columns; what images are seen by."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data.pools import Names, Pool, conditions
from score_mia.data.views import read_features, reduced, with_squares, words
from score_mia.registry import section
from tests.data.makers import pictures, source_of

FILES = ("in/0.png", "in/1.png", "in/2.png", "out/3.png", "out/4.png", "out/5.png")
CAPTIONS = ("red dog", "red cat", "red cow", "blue dog", "blue cat", "blue cow")


def source(**fields):
    given = {"files": FILES, "captions": CAPTIONS, **fields}
    return dataclasses.replace(source_of(pictures(6, 4)), **given)


def table(folder, kind, rows):
    path = folder / f"pool.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
        return str(path)
    lines = [",".join(rows[0]), *(",".join(map(str, r.values())) for r in rows)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


ROWS = [
    {"file": "out/5.png", "language": "en", "aesthetic": 6.5},
    {"file": "out/3.png", "language": "en", "aesthetic": 5.0},
    {"file": "in/0.png", "language": "de", "aesthetic": 9.0},
    {"file": "in/1.png", "language": "en", "aesthetic": ""},
    {"file": "in/2.png", "language": "", "aesthetic": 5.1},
]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ({}, [0, 1, 2, 3, 5]),
        ({"language": {"among": ("en",)}}, [1, 3, 5]),
        ({"language": {"among": ("en", "de")}}, [0, 1, 3, 5]),
        ({"aesthetic": {"above": 5.0}}, [0, 2, 5]),  # 5.0 itself is not above
        ({"aesthetic": {"above": 5.0, "below": 9.0}}, [2, 5]),
        ({"language": {"among": ("en",)}, "aesthetic": {"above": 5.0}}, [5]),
    ],
)
def test_columns_say_which_images_are_wanted(tmp_path, kind, where, ids):
    pool = Pool(listed=table(tmp_path, kind, ROWS), where=where)
    chosen = pool.choose(source(), "members")
    assert chosen.ids.tolist() == ids
    assert chosen.every.tolist() == [0, 1, 2, 3, 5]


def test_folders_ids_and_names_are_pools(tmp_path):
    given = source()
    assert Pool(folder="out").choose(given, "x").ids.tolist() == [3, 4, 5]
    assert Pool(listed=(2, "in/0.png")).choose(given, "x").ids.tolist() == [0, 2]
    np.savez(tmp_path / "n.npz", neighbours=[4, 1])
    pool = Pool(listed=str(tmp_path / "n.npz"))
    assert pool.choose(given, "neighbours").ids.tolist() == [1, 4]
    by_id = table(tmp_path, "csv", [{"id": 4, "score": 1}, {"id": 1, "score": 2}])
    assert Pool(listed=by_id).choose(given, "x").ids.tolist() == [1, 4]


def test_dead_links_are_passed_over_if_one_says_so(tmp_path):
    rows = [*ROWS, {"file": "gone.png", "language": "en", "aesthetic": 7}]
    listed = table(tmp_path, "csv", rows)
    with pytest.raises(UserError, match="1 of them are not in the data"):
        Pool(listed=listed).choose(source(), "members")
    chosen = Pool(listed=listed, missing=True).choose(source(), "members")
    assert (len(chosen.every), chosen.missing) == (5, 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "pool: is neither a folder nor a list"),
        ({"folder": "in", "listed": (1,)}, "is neither a folder nor a list"),
        ({"folder": "in", "where": {"a": {"above": 1.0}}}, "only a CSV or JSONL file"),
        ({"listed": (1,), "where": {"a": {"above": 1.0}}}, "only a CSV or JSONL file"),
        ({"listed": "x.csv", "where": {"a": {}}}, "condition: asks for nothing"),
        ({"listed": "x.csv", "where": {"a": 5}}, "condition on 'a': is 5"),
        ({"listed": "x.csv", "where": {"a": {"over": 5}}}, "no field 'over'"),
        ({"listed": "x.csv", "where": {"a": {"above": "5"}}}, "above='5' is a text"),
    ],
)
def test_what_is_no_pool_is_refused(fields, words):
    with pytest.raises(UserError) as caught:
        section("config section", "members", Pool, fields)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "where", "words"),
    [
        (ROWS, {"tongue": {"among": ("en",)}}, "has no column 'tongue'"),
        (ROWS, {"language": {"above": 5.0}}, "row 1, language: is 'en', no number"),
        (ROWS, {"aesthetic": {"above": 10.0}}, "none of 5 images meets the conditions"),
        ([*ROWS, ROWS[0]], {}, "repeats 1 images"),
        ([{"url": "x"}], {}, "has no column file or file_name or id"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path, rows, where, words):
    pool = Pool(listed=table(tmp_path, "csv", rows), where=where)
    with pytest.raises(UserError) as caught:
        pool.choose(source(), "members")
    assert words in str(caught.value)
    assert str(caught.value).startswith("members")


def test_a_folder_needs_files_and_images():
    with pytest.raises(UserError, match=r"members.folder: the data have no files"):
        Pool(folder="in").choose(source(files=None), "members")
    with pytest.raises(UserError, match=r"members.folder='x': holds no image"):
        Pool(folder="x").choose(source(), "members")


def test_names_that_a_list_cannot_hold_become_ids():
    assert Names.of(source()).shown(np.asarray([5, 0])) == ["out/5.png", "in/0.png"]
    for odd in ("in/0.png ", "two\nlines", FILES[1]):
        names = Names.of(source(files=(odd, *FILES[1:])))
        assert names.shown(np.asarray([5, 0])) == ["5", "0"]
    assert Names.of(source(files=None)).shown(np.asarray([2])) == ["2"]


def test_conditions_of_nothing_are_none():
    assert conditions({}) == {}


# --- what images are seen by ----------------------------------------------------------


def test_components_see_no_label_and_repeat_themselves():
    random = np.random.RandomState(0)
    x = random.randn(40, 12)
    seen = reduced(x, 5, 1, "images")
    np.testing.assert_array_equal(seen, reduced(x, 5, 1, "images"))
    assert np.all(np.diff(seen.var(axis=0)) <= 0)
    # All components keep all distances.
    whole = reduced(x, 99, 1, "images")
    np.testing.assert_allclose(
        np.linalg.norm(whole[0] - whole[7]), np.linalg.norm(x[0] - x[7])
    )
    np.testing.assert_array_equal(with_squares(seen)[:, 5:], seen**2)
    x[3, 4] = np.nan
    with pytest.raises(UserError, match="features of images: holds 1 NaN"):
        reduced(x, 5, 1, "images")


def test_captions_with_a_word_of_their_own_are_told_apart():
    seen = words(source(), np.arange(6), 3, 0)
    np.testing.assert_array_equal(seen, words(source(), np.arange(6), 3, 0))
    unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    like = unit @ unit.T
    assert like[0, 1] > like[0, 4]  # both red; a red dog and a blue cat share nothing


@pytest.mark.parametrize(
    ("captions", "said"),
    [(None, "have no captions"), (("!",) * 6, "hold no word of two letters")],
)
def test_captions_that_say_nothing_are_refused(captions, said):
    with pytest.raises(UserError, match=said):
        words(source(captions=captions), np.arange(6), 3, 0)


def test_features_of_a_text_encoder_are_found_by_name_or_id(tmp_path):
    path, x = tmp_path / "x.npz", np.arange(36.0).reshape(6, 3, 2)
    order = [4, 0, 5, 3, 1, 2]
    np.savez(path, features=x[order], files=[FILES[i] for i in order])
    ids = np.asarray([5, 1])
    told = read_features(path, Names.of(source()), ids)
    np.testing.assert_array_equal(told, x[ids].reshape(2, 6))
    np.savez(path, features=x[order].astype(np.float16), ids=order)
    told = read_features(path, Names.of(source(files=None)), ids)
    np.testing.assert_array_equal(told, x[ids].reshape(2, 6))


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"features": np.zeros((2, 3))}, "give arrays"),
        ({"ids": [0, 1]}, "give arrays"),
        ({"features": np.zeros((2, 3)), "ids": [0, 1, 2]}, "do not fit ids"),
        ({"features": np.zeros(2), "ids": [0, 1]}, "do not fit ids"),
        ({"features": np.full((2, 3), "a"), "ids": [0, 1]}, "do not fit ids"),
        ({"features": np.zeros((2, 3)), "ids": [0, 0]}, "names 0 again"),
        ({"features": np.zeros((2, 3)), "ids": [0, 5]}, "has none of 1 images"),
        ({"features": np.full((2, 3), np.nan), "ids": [0, 1]}, "holds 6 NaN"),
    ],
)
def test_features_that_cannot_be_used_are_refused(tmp_path, arrays, said):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(UserError) as caught:
        read_features(path, Names.of(source()), np.arange(2))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"features {path}")
