"""Transcribed numbers of three papers: spot checks, and what rows must satisfy."""

from __future__ import annotations

import dataclasses

import pytest

from score_mia.papers.cilloni import BEST, FINDINGS, UNKNOWN
from score_mia.papers.cilloni.published import DISTANCES, OBSERVERS
from score_mia.papers.laion_mi import published as laion
from score_mia.papers.laion_mi.settings import SETTINGS
from score_mia.papers.pang_wang import published as pang

ROWS = [
    pytest.param(row, id=f"{name}-{row.data}-{row.scenario}-{row.attack}")
    for name, table in pang.RATE_TABLES.items()
    for row in table.rows
]


@pytest.mark.parametrize("row", ROWS)
def test_rates_are_shares_of_known_targets(row):
    values = [x for x in (row.asr, row.auc, row.tpr) if x is not None]
    assert values
    assert all(0 <= x <= 1 for x in values)
    assert row.data in pang.DATA
    assert row.scenario in ("", *pang.SCENARIOS)


@pytest.mark.parametrize(
    ("table", "data", "scenario", "attack", "want"),
    [
        ("baseline", 0, "III", "DeiT, classifier", (0.87, 0.94, 0.54)),
        ("baseline", 0, "", "earlier, second", (0.51, 0.49, 0.01)),
        ("data", 1, "II", "DeiT, classifier", (0.78, 0.85, 0.15)),
        ("data", 2, "IV", "DeiT, classifier", (0.69, 0.74, 0.16)),
        ("rules", 0, "IV", "distribution", (None, 0.88, None)),
        ("rules", 1, "I", "threshold", (None, 0.69, None)),
        ("rules", 2, "II", "classifier", (None, 0.91, None)),
        ("kandinsky", 2, "IV", "Kandinsky", (None, 0.74, None)),
        ("best", 0, "I", "BEiT, classifier", (None, 0.95, None)),
    ],
)
def test_pang_and_wang_print(table, data, scenario, attack, want):
    row = pang.RATE_TABLES[table].find(pang.DATA[data], scenario, attack)
    assert row is not None
    assert (row.asr, row.auc, row.tpr) == want
    assert row.certain


def test_tables_are_whole_and_say_what_they_lack():
    sizes = {name: len(table.rows) for name, table in pang.RATE_TABLES.items()}
    assert sizes == {
        **{"baseline": 6, "data": 8, "rules": 36, "kandinsky": 12},
        **{"plain captioner": 6, "best": 1},
    }
    assert pang.RATE_TABLES["rules"].find("COCO", "I", "oracle") is None
    assert not any(r.certain for r in pang.RATE_TABLES["plain captioner"].rows)
    rules = {r.attack for r in pang.RATE_TABLES["rules"].rows}
    assert rules == set(pang.RULES)


def test_privacy_lowers_every_scenario():
    plain = {p.members: p.aucs for p in pang.PRIVATE if p.epsilon is None}
    assert plain[100] == (0.911, 0.909, 0.893, 0.813)
    for row in pang.PRIVATE:
        pairs = zip(row.aucs, plain[row.members], strict=True)
        assert all(low <= high for low, high in pairs)


def test_ranges_and_trainings():
    assert all(0.5 <= r.low < r.high <= 1 for r in pang.RANGES.values())
    assert pang.RANGES["rerun, classifier"].high == 0.838
    assert not pang.RANGES["1000 members"].certain
    paper = pang.TRAININGS["paper"]
    assert (paper.members, paper.epochs, paper.learning_rate) == (100, 500, 5e-5)


def test_laion_mi_prints_little_above_a_guess():
    values = [x for s in laion.SETTINGS for x in (s.pixel, s.latent, s.model)]
    assert (min(values), max(values), len(values)) == (0.97, 1.78, 45)
    assert max(s.pixel for s in laion.SETTINGS) == 1.70
    best = max(laion.SETTINGS, key=lambda s: s.model)
    assert best.setting == "partial"
    assert [s.number for s in laion.SETTINGS] == list(range(1, 16))
    named = [s.setting for s in laion.SETTINGS if s.setting]
    assert {*named, *(r.setting for r in laion.RECOLLECTED)} <= set(SETTINGS)
    assert not any(r.certain for r in laion.RECOLLECTED)


def test_laion_mis_lists_and_repetitions():
    assert (laion.DATA_SET.members, laion.DATA_SET.nonmembers) == (13_396, 26_874)
    assert [*laion.DUPLICATES.values()] == [100, 96, 64, 19, 8]
    found = {(r.printed, r.attack): (r.auc, r.tpr) for r in laion.REPETITIONS}
    assert len(found) == 8
    assert found["MoFit", "CLiD"] == (0.586, 4.6)
    assert found["CopyMark", "PFAMI"] == (0.510, 1.56)
    assert laion.SHIFTS["LAION-mi"].frechet < laion.SHIFTS["LAION against COCO"].frechet
    assert (laion.CONTROL.members, laion.CONTROL.nonmembers) == (633, 200)


def test_cilloni_reports_one_number():
    assert (BEST.auc, BEST.certain) == (0.60, False)
    assert BEST.observer in OBSERVERS
    assert BEST.distance in DISTANCES
    assert not FINDINGS["access"].certain
    assert "strength" in UNKNOWN


@pytest.mark.parametrize("value", [BEST, laion.CONTROL, pang.PRIVATE[0]])
def test_numbers_are_frozen(value):
    name = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, name, 0)
