"""Differences between two audits of the same images, of made-up scores."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics.intervals import evaluate
from score_mia.metrics.paired import paired
from score_mia.report.exhibits.differences import Differences
from tests.report.made_up import IDS, MEMBER, MadeUp

NOISE = np.random.default_rng(0).normal(size=(2, len(IDS)))


class Judged(MadeUp):
    """With the numbers of its attacks."""

    def entry(self, attack, column=None):
        _, scores, member = self.judged[attack]
        return evaluate(scores, member, replicates=100)


def made(name, **scores):
    return Judged(name, {n: (IDS, s, MEMBER) for n, s in scores.items()})


def test_a_difference_is_paired_over_images():
    score = NOISE[0] + MEMBER
    first = made("a", loss=score, sima=score)
    second = made("b", loss=score + 0.01 * NOISE[1], sima=NOISE[1])
    pairs = {"near": ("a", "b")}
    built = Differences(pairs=pairs).build([first, second])
    rows = {r["attack"]: r for r in csv.DictReader(io.StringIO(built.csv))}
    want = paired(score + 0.01 * NOISE[1], score, MEMBER)
    found = [float(rows["loss"][k]) for k in ("difference", "low", "high")]
    np.testing.assert_allclose(found, want.interval)
    _, low, high = first.entry("loss").auc.interval
    assert found[2] - found[1] < 0.3 * (high - low)
    assert float(rows["sima"]["high"]) < 0
    assert [cell.value for cell in built.table.rows[0].cells][:2] == ["loss", "near"]
    named = Differences(pairs=pairs, attacks={"sima": "SimA"}).build([first, second])
    assert [row.cells[0].value for row in named.table.rows] == ["SimA"]


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(UserError, match="pairs"):
        Differences()
    with pytest.raises(UserError, match="no pair"):
        Differences(pairs={"x": ("a",)})
    exhibit = Differences(pairs={"x": ("a", "b")})
    with pytest.raises(UserError, match="audit"):
        exhibit.among(("a", "c"))
    first = made("a", loss=NOISE[0])
    with pytest.raises(UserError, match="no pair that is finished"):
        exhibit.build([first])
    other = Judged("b", {"loss": (IDS + 1, NOISE[0], MEMBER)})
    with pytest.raises(UserError, match="other images"):
        exhibit.build([first, other])
