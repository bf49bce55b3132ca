"""Who is exposed: by rank among non-members, members first, and never as a formula."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from score_mia.auditing.exposed import confidences, exposures, save
from score_mia.data import ArraySource


def source(names=None):
    return ArraySource("x", np.zeros((6, 2, 2, 1), np.uint8), np.arange(6), files=names)


def test_members_come_first_by_score_with_their_rank_among_non_members(tmp_path):
    names = ("=cmd.png", "b.png", "c.png", "d.png", "e,f.png", "g.png")
    member = np.asarray([True, True, True, False, False, False])
    scores = np.asarray([2.0, 9.0, 5.0, 1.0, 5.0, 3.0])
    rows = exposures(np.arange(6), member, scores, source(names))
    assert [r.id for r in rows] == [1, 2, 0, 4, 5, 3]
    assert [r.confidence for r in rows[:3]] == pytest.approx([3 / 4, 2 / 4, 1 / 4])
    assert [r.confidence for r in rows[3:]] == pytest.approx([2 / 3, 1 / 3, 0.0])
    path = save(tmp_path, {"best": rows, "other": rows[:1]})
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [r["attack"] for r in table] == ["best"] * 6 + ["other"]
    assert table[0]["file"] == "b.png"
    assert table[3]["file"] == "e,f.png"
    assert table[2]["file"] == "'=cmd.png"
    assert float(table[1]["score"]) == 5.0
    assert exposures(np.arange(6), member, scores, source())[0].file == ""


def test_the_confidence_of_a_non_member_is_uniform_whatever_the_scores():
    rng = np.random.default_rng(0)
    member = np.arange(400) < 200
    for scores in (rng.normal(size=400) + member, np.exp(rng.normal(size=400))):
        ranks = np.sort(confidences(scores, member)[~member])
        np.testing.assert_allclose(ranks, np.arange(200) / 200, atol=1e-12)
    tied = confidences(np.zeros(400), member)
    assert np.all(tied == 0)
