"""Curves of very many columns are measured with few of them in memory."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from score_mia import readings
from score_mia.metrics.roc import column_curves
from score_mia.readings import Piece, Readings
from score_mia.report.curves import RATES, measure


def signals(rows=60, columns=40):
    """Values [N, K] and who is a member."""
    rng = np.random.default_rng(0)
    member = np.arange(rows) % 3 == 0
    return rng.normal(size=(rows, columns)).astype(np.float32) + member[:, None], member


class Counted:
    """Pieces of readings that count the numbers held of what they gave."""

    def __init__(self, values, cuts):
        self.now = self.most = 0
        parts = np.split(values, cuts)
        self.pieces = tuple(Piece(len(p), self.reader(p)) for p in parts)

    def reader(self, values):
        def read(places):
            out = values[:, places]
            self.now += out.size
            self.most = max(self.most, self.now)
            weakref.finalize(out, self.forget, out.size)
            return out

        return read

    def forget(self, size):
        self.now -= size


@pytest.mark.parametrize("spoilt", [(), ((5, 3), (7, slice(None)), (slice(None), 11))])
def test_by_blocks_of_columns_as_all_at_once(monkeypatch, spoilt):
    values, member = signals()
    for place in spoilt:
        values[place] = np.nan
    names = tuple(f"loss@{k}" for k in range(values.shape[1]))
    counted = Counted(values, (13, 40))
    kept = Readings(np.arange(60), names, counted.pieces, member)
    monkeypatch.setattr(readings, "_CELLS", 60 * 4)
    curves = measure(kept)
    assert counted.most == 60 * 4
    some = np.isfinite(values).any(0)
    rows = np.isfinite(values[:, some]).all(1)
    assert curves.members == member[rows].sum()
    expected = column_curves(values[rows][:, some], member[rows], RATES)
    assert np.array_equal(curves.auc[0, some], expected["auc"])
    assert np.array_equal(curves.tpr[0.1][0, some], expected["tpr@0.1"])
    assert np.isnan(curves.auc[:, ~some]).all()
    assert curves.tpr[0.01] is None
    monkeypatch.undo()
    whole = measure(Readings.of(values, np.arange(60), names, member))
    assert np.array_equal(curves.auc, whole.auc, equal_nan=True)
    assert np.array_equal(curves.tpr[0.1], whole.tpr[0.1], equal_nan=True)


def test_without_rows_of_both_groups_there_is_no_curve():
    values, member = signals()
    values[member] = np.inf
    assert measure(Readings.of(values, np.arange(60), tuple("a" * 40), member)) is None
