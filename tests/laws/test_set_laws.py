"""Laws that every registered test of whole sets obeys."""

from __future__ import annotations

import dataclasses
from typing import get_args

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.readings import Evidence, Readings
from score_mia.registry import make
from score_mia.rules import RULES, SETS
from score_mia.rules.protocol import Knowledge, Rule, SetEstimate, SetTest, TestResult

NAMES = ("t@1", "t@2", "t@3")
FIELDS = {
    "cdi": {"permutations": 199, "trials": 20},
    "set_mean": {"column": "t@2", "permutations": 499},
}
"""Fields that keep a test small on three columns."""


@pytest.fixture(params=sorted(SETS))
def made(request):
    return make("rule", SETS, {"name": request.param, **FIELDS.get(request.param, {})})


def sets(seed, members, size=60, gap=1.0, shadows=4):
    """Suspects, of whom the first so many are members, and as many unseen images."""
    rng, n = np.random.default_rng(seed), 2 * size
    ids = np.sort(rng.permutation(10 * n)[:n])
    level = rng.normal(size=(n, 3))
    order = rng.permutation(n)
    suspects = np.isin(np.arange(n), order[:size])
    member = np.isin(np.arange(n), order[:members])

    def readings(member):
        values = level + gap * member[:, None] + 0.5 * rng.normal(size=level.shape)
        return Readings.of(values, ids, NAMES, member)

    turns = np.argsort(rng.random((shadows, n)), axis=0) < shadows // 2
    others = tuple(map(readings, turns))
    rows = Evidence(readings(member), others).unlabelled()
    return rows.select(suspects), rows.select(~suspects)


def accuses(found, level=0.05):
    """Whether a p-value, or an interval that excludes 0, is evidence."""
    return found.p_value < level if isinstance(found, TestResult) else found.low > 0


def test_stands_in_no_rule_s_place():
    assert not RULES.keys() & SETS.keys()


def test_is_a_frozen_value(made):
    assert isinstance(made, SetTest)
    assert not isinstance(made, Rule)
    assert made.accepts <= frozenset(get_args(Knowledge))
    assert dataclasses.is_dataclass(made)
    hash(made)


def test_finds_a_set_of_members_and_says_it_twice(made):
    suspects, unseen = sets(0, 60)
    found = made.judge(suspects, unseen, seed=0)
    assert isinstance(found, TestResult | SetEstimate)
    assert found == made.judge(suspects, unseen, seed=0)
    assert accuses(found, 0.01)
    assert found.about
    assert "\n" not in found.about
    numbers = [v for v in vars(found).values() if not isinstance(v, str)]
    assert np.isfinite(numbers).all()


def test_seldom_accuses_images_that_nobody_trained_on(made):
    """Sixteen sets at 5 %: four false alarms would be one of a thousand audits'."""
    alarms = [accuses(made.judge(*sets(1 + k, 0), seed=k)) for k in range(16)]
    assert np.sum(alarms) <= stats.binom.isf(1e-3, 16, 0.05)


def test_the_order_of_the_columns_does_not_matter(made):
    def turned(evidence):
        def one(rows):
            values = rows.matrix()[:, ::-1]
            return Readings.of(values, rows.ids, rows.names[::-1], rows.member)

        return Evidence(one(evidence.target), tuple(map(one, evidence.others)))

    suspects, unseen = sets(40, 30)
    found = made.judge(suspects, unseen, seed=0)
    other = made.judge(turned(suspects), turned(unseen), seed=0)
    for name, value in vars(found).items():
        if isinstance(value, float):
            assert getattr(other, name) == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_too_few_images_or_models_are_refused(made):
    suspects, unseen = sets(50, 30)
    few = np.arange(60) < 1
    alone = suspects._replace(others=suspects.others[:1])
    shadowed = "shadows" in made.accepts
    given = (alone, unseen) if shadowed else (suspects.select(few), unseen.select(few))
    with pytest.raises(UserError, match=r"it needs three|more"):
        made.judge(*given, seed=0)
