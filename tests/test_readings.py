"""Readings: rows by id, in pieces, side by side."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.readings import Piece, Readings, joined

IDS = np.array([7, 3, 11, 5, 2])
VALUES = np.arange(10.0, dtype=np.float32).reshape(5, 2)
COST = {"network_evaluations": np.arange(5.0)}


def record():
    return Readings.of(VALUES, IDS, ("a", "b"), IDS % 2 == 1, COST)


def in_pieces(readings, *cuts):
    """The same rows, cut elsewhere."""
    parts = np.split(readings.matrix(), cuts)
    pieces = tuple(Piece(len(p), lambda places, p=p: p[:, places]) for p in parts)
    return Readings(readings.ids, readings.names, pieces, readings.member)


def test_rows_are_sorted_by_id_with_all_that_is_theirs():
    rows, order = record(), np.argsort(IDS)
    np.testing.assert_array_equal(rows.ids, IDS[order])
    np.testing.assert_array_equal(rows.matrix(), VALUES[order])
    np.testing.assert_array_equal(rows.member, (IDS % 2 == 1)[order])
    np.testing.assert_array_equal(rows.column("network_evaluations"), order)


@pytest.mark.parametrize("cuts", [(), (1,), (2, 4), (1, 2, 3, 4)])
def test_how_rows_are_cut_cannot_be_seen(cuts):
    whole = record()
    cut = in_pieces(whole, *cuts)
    some = np.array([True, False, True, True, False])
    np.testing.assert_array_equal(cut.matrix(), whole.matrix())
    np.testing.assert_array_equal(cut.column("b"), whole.column("b"))
    np.testing.assert_array_equal(cut.select(some).matrix(), whole.matrix()[some])
    np.testing.assert_array_equal(
        np.concatenate(list(cut.select(some).blocks(("b",)))), whole.matrix()[some, 1:]
    )
    np.testing.assert_array_equal(cut.finite(), whole.finite())


def test_selecting_reads_nothing():
    def refuse(places):
        raise AssertionError("read")

    rows = Readings(np.arange(3), ("a",), (Piece(3, refuse),))
    assert len(rows.select(np.array([True, False, True]))) == 2


def test_rows_that_are_not_finite_are_found():
    values = VALUES.copy()
    values[1, 1] = np.nan
    rows = Readings.of(values, IDS, ("a", "b"))
    assert list(rows.ids[~rows.finite()]) == [3]


def test_several_signals_stand_side_by_side_under_their_names():
    one, other = record(), in_pieces(Readings.of(-VALUES, IDS, ("a", "c")), 1, 3)
    both = joined({"one": one, "other": other})
    assert both.names == ("one/a", "one/b", "other/a", "other/c")
    np.testing.assert_array_equal(
        both.matrix(), np.hstack([one.matrix(), other.matrix()])
    )
    np.testing.assert_array_equal(
        both.matrix(("other/c", "one/a")),
        np.stack([other.column("c"), one.column("a")], 1),
    )
    assert joined({"one": one}) is one
    fewer = one.select(one.ids > 3)
    with pytest.raises(UserError, match="'other': holds other images"):
        joined({"one": one, "other": fewer})


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="not strictly ascending"):
        Readings.of(VALUES, np.array([1, 1, 2, 3, 4]), ("a", "b"))
    with pytest.raises(UserError, match="do not fit 5 ids and 1 names"):
        Readings.of(VALUES, IDS, ("a",))
    with pytest.raises(UserError, match="'c'; known: a, b, network_evaluations"):
        record().column("c")
    with pytest.raises(UserError, match="2 rows for 3 ids"):
        Readings(np.arange(3), ("a",), (Piece(2, lambda places: VALUES[:2]),))
