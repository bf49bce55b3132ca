"""The record: a commutative monoid under `concat`, whole or absent on disk."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_mia.check import UserError
from score_mia.signals import Signals, concat


def record(ids, seed=0, **changes):
    """Rows that depend on their id only, given in the order of `ids`."""
    ids = np.asarray(ids, np.int64)
    rows = [np.random.default_rng([seed, i]).normal(size=4) for i in ids.tolist()]
    rows = np.array(rows).reshape(len(ids), 4)
    fields = {
        "values": rows[:, :3],
        "member": ids % 3 == 0,
        "ids": ids,
        "names": ("a", "b", "c"),
        "diagnostics": rows[:, 3:],
        "diagnostic_names": ("cost",),
        "provenance": {"signal": "toy", "seed": seed},
    }
    return Signals.of(**{**fields, **changes})


shards = st.lists(st.integers(0, 10_000), unique=True, max_size=20).flatmap(
    lambda ids: st.tuples(
        st.just(ids),
        st.lists(st.integers(0, 2), min_size=len(ids), max_size=len(ids)),
    )
)


@given(shards)
def test_shards_form_a_commutative_monoid(case):
    ids, which = case
    a, b, c = (
        record([i for i, w in zip(ids, which, strict=True) if w == k]) for k in range(3)
    )
    whole = record(ids)
    assert concat([a, b, c]) == whole
    assert concat([c, a, b]) == whole
    assert concat([concat([a, b]), c]) == concat([a, concat([b, c])]) == whole
    assert concat([record([]), whole]) == whole
    assert concat([whole]) == whole


def test_rows_stay_together_when_sorted():
    found = record([7, 3, 5])
    np.testing.assert_array_equal(found.ids, [3, 5, 7])
    assert found == record([3, 5, 7])
    for i in (3, 5, 7):
        row = found.select(found.ids == i)
        assert row == record([i])


def test_equality_sees_every_field():
    whole = record([1, 2, 3])
    assert whole == record([1, 2, 3])
    assert whole != "something else"
    for field in ("values", "diagnostics"):
        changed = getattr(whole, field).copy()
        changed[0, 0] += 1e-3
        assert dataclasses.replace(whole, **{field: changed}) != whole
    assert dataclasses.replace(whole, member=~whole.member) != whole
    assert dataclasses.replace(whole, ids=whole.ids + 1) != whole
    assert dataclasses.replace(whole, names=("a", "b", "d")) != whole
    assert dataclasses.replace(whole, provenance={}) != whole
    whole.values[0, 0] = np.nan
    assert whole == dataclasses.replace(whole, values=whole.values.copy())


def test_foreign_or_repeated_shards_are_refused():
    a = record([1, 2])
    for other in (
        record([3], seed=1),
        record([3], names=("a", "b", "x")),
        record([3], diagnostic_names=("price",)),
    ):
        with pytest.raises(UserError, match="different signals, targets or seeds"):
            concat([a, other])
    with pytest.raises(UserError, match="not strictly ascending"):
        concat([a, record([2, 3])])
    with pytest.raises(UserError, match="no shards"):
        concat([])


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ("a", "b")},
        {"diagnostic_names": ()},
        {"diagnostics": np.zeros((2, 2))},
    ],
)
def test_shapes_that_do_not_fit_are_told(changes):
    with pytest.raises(UserError, match="do not fit 2 ids"):
        record([1, 2], **changes)


def test_columns_by_name():
    whole = record([1, 2, 3])
    np.testing.assert_array_equal(whole.column("b"), whole.values[:, 1])
    np.testing.assert_array_equal(whole.column("cost"), whole.diagnostics[:, 0])
    with pytest.raises(UserError, match=r"no column 'd'; known: a, b, c, cost"):
        whole.column("d")


NOBODY = np.array([], np.int64)


def test_save_and_load_return_the_same_record(tmp_path):
    whole = record([5, 1, 9])
    whole.values[1, 2] = -np.inf
    path = tmp_path / "part.npz"
    whole.save(path)
    loaded = Signals.load(path, whole.ids[whole.member])
    assert loaded == whole
    assert loaded.values.dtype == np.float32
    assert loaded.ids.dtype == np.int64
    assert loaded.member.dtype == bool
    again = tmp_path / "again.npz"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    record([]).save(path)
    assert Signals.load(path, NOBODY) == record([])


def test_an_interrupted_save_leaves_the_old_record(tmp_path, monkeypatch):
    path = tmp_path / "part.npz"
    record([1]).save(path)

    def killed(file, **arrays):
        file.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", killed)
    with pytest.raises(KeyboardInterrupt):
        record([2]).save(path)
    monkeypatch.undo()
    assert Signals.load(path, record([1]).ids[record([1]).member]) == record([1])


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_a_damaged_file_is_one_line(tmp_path, keep):
    path = tmp_path / "part.npz"
    record(range(50)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UserError, match=r"part.npz is damaged.*delete it") as caught:
        Signals.load(path, NOBODY)
    assert "\n" not in str(caught.value)


def test_flipped_bytes_are_noticed(tmp_path):
    path = tmp_path / "part.npz"
    record(range(50)).save(path)
    data = bytearray(path.read_bytes())
    for at in range(120, 160):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"part.npz is damaged"):
        Signals.load(path, NOBODY)


def test_another_npz_is_not_taken_for_a_record(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, values=np.zeros(3))
    with pytest.raises(UserError, match="has no array 'ids'"):
        Signals.load(path, NOBODY)
