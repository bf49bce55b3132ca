"""An attack with AUC near 0 read as harmless: "Not found", where scores that tell the
groups apart with the wrong sign are a leak or a bug, and the reader was told neither.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from score_mia.metrics.intervals import evaluate
from score_mia.report.table import table_text
from score_mia.report.verdict import reversals, verdict
from tests.report.test_verdict import CHANCE, PARTIAL, entry, metrics, number, said

WRONG = entry(number(0.1, 0.05, 0.15), one=number(0.0, 0.0, 0.03))
MIRRORED = {0.1: number(0.7, 0.6, 0.8), 0.01: number(0.4, 0.3, 0.5)}
FAINT = entry(number(0.42, 0.37, 0.47), one=number(0.0, 0.0, 0.03))


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (dataclasses.replace(WRONG, mirrored=MIRRORED), "strong"),
        (WRONG, "partial"),
        (FAINT, "partial"),
    ],
)
def test_is_judged_on_the_mirrored_scores(wrong, kind):
    found = verdict(metrics(loss=wrong, other=CHANCE), titles={"loss": "Loss"})
    assert (found.kind, found.attack) == (kind, "loss")
    assert "the scores of Loss the other way round" in said(found)
    assert "no all-clear" in said(found)
    if kind == "strong":
        assert found.quoted == (0.4, 0.3, 0.5, 0.01)
        assert "recognises 40.0 % of the training images" in said(found)


def test_the_quoted_numbers_are_mirrored_too():
    text = said(verdict(metrics(loss=FAINT)))
    assert "58.0 % of the time (95 % interval 53.0-63.0 %" in text


def test_a_leak_of_the_right_sign_goes_first_and_the_other_is_still_told():
    both = metrics(loss=PARTIAL, odd=FAINT)
    found = verdict(both)
    assert (found.kind, found.attack) == ("partial", "loss")
    assert "other way round" not in said(found)
    (line,) = reversals(both)
    assert line.startswith("odd: ranks training images below the others (AUC 0.420")
    assert "no sign of safety" in " ".join(table_text(both).split())


def test_many_looks_are_allowed_for():
    # Below 0.5 by a hair: as the worst of twenty attacks this is chance.
    edge = entry(number(0.44, 0.39, 0.495))
    assert verdict(metrics(loss=edge)).kind == "partial"
    others = {f"a{i}": CHANCE for i in range(19)}
    assert verdict(metrics(loss=edge, **others)).kind == "chance"
    assert reversals(metrics(loss=edge, **others)) == []


def test_room_for_a_leak_of_either_sign_is_not_enough_data():
    wide = entry(number(0.45, 0.3, 0.58))
    assert verdict(metrics(loss=wide)).kind == "unclear"


def test_so_few_images_claim_nothing():
    assert verdict(metrics(9, 500, loss=WRONG)).kind == "unclear"
    assert reversals(metrics(9, 500, loss=WRONG)) == []


def test_on_real_metrics():
    rng = np.random.default_rng(5)
    member = np.arange(600) < 100
    scores = rng.normal(size=600) - 3 * member
    found = evaluate(scores, member, replicates=200)
    assert found.tpr_at_fpr[0.01].value < 0.01
    strong = verdict(metrics(loss=found))
    assert strong.kind == "strong"
    assert strong.quoted is not None
    assert strong.quoted[0] > 0.5
    assert evaluate(-scores, member, replicates=200).mirrored == {}
