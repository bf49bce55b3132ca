"""Quantile regression on columns whose law given the covariates is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings
from score_mia.rules.protocol import Slow
from score_mia.rules.quantile import Quantile

NAMES = ("loss/loss@200", "covariates/edges", "covariates/mean")
QUICK = {"bag": 3, "trees": 50, "leaf": 20}


def drawn(seed, n=3000, gap=2.0, members=0.5):
    """Normal columns about a step of one covariate, a hundred times as far apart.

    Their spread is 1 below the step and 3 above it; a member has `gap` spreads more.
    """
    rng = np.random.default_rng(seed)
    member = rng.random(n) < members
    x = rng.random((n, 2))
    spread = np.where(x[:, 0] < 0.5, 1.0, 3.0)
    values = np.where(x[:, 0] < 0.5, 0.0, 100.0)
    values = values + spread * (rng.normal(size=n) + gap * member)
    ids = seed * n + np.arange(n)
    return Evidence(Readings.of(np.column_stack([values, x]), ids, NAMES, member))


def test_what_makes_an_image_easy_is_taken_out():
    rule, evidence = Quantile(**QUICK), drawn(1)
    scorer = rule.fit(drawn(0))
    member, found = evidence.target.member, scorer(evidence.unlabelled())
    # Of two images of unlike halves the column says nothing at all.
    raw = 0.5 * stats.norm.cdf(2 / np.sqrt(2)) + 0.25
    raised = auc(evidence.target.column(NAMES[0]), member)
    assert raised == pytest.approx(raw, abs=0.03)
    assert auc(found, member) == pytest.approx(stats.norm.cdf(2 / np.sqrt(2)), abs=0.03)
    assert scorer.columns == NAMES
    assert "given 2 covariates, learned on" in scorer.about


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_above_0_a_non_member_is_as_seldom_as_was_asked(level):
    """In either half: with one threshold for all, only the upper one ever is.

    Up to what trees learn of the very images that taught them.
    """
    evidence = drawn(2)
    found = Quantile(level=level, **{**QUICK, "leaf": 100}).fit(drawn(3))(evidence)
    above = evidence.target.column(NAMES[1]) >= 0.5
    outside = ~evidence.target.member
    for half in (above, ~above):
        rate = np.mean(found[outside & half] > 0)
        assert rate == pytest.approx(1 - level, abs=0.05)
    # A member's chance of it is known as well.
    power = stats.norm.sf(stats.norm.ppf(level) - 2.0)
    assert np.mean(found[~outside] > 0) == pytest.approx(power, abs=0.08)


def test_known_members_are_not_looked_at():
    rows = drawn(4).target
    turned = np.where(rows.member[:, None], 1e6, rows.matrix())
    other = Readings.of(turned, rows.ids, rows.names, rows.member)
    population = rows.select(~rows.member)
    rule = Quantile(**QUICK)
    fits = [rule.fit(Evidence(r)) for r in (rows, other, population)]
    assert fits[0] == fits[1] == fits[2]
    found = [fit(drawn(5)) for fit in fits]
    np.testing.assert_array_equal(found[0], found[1])
    assert fits[0].fitted_on == int(np.sum(~rows.member))


def test_columns_are_found_or_named():
    rows, rule = drawn(6).target, Quantile(bag=1, trees=2)
    assert rule.fit(Evidence(rows)).columns == NAMES
    named = dataclasses.replace(rule, column=NAMES[0], covariates=NAMES[2:])
    assert named.fit(Evidence(rows)).columns == (NAMES[0], NAMES[2])
    own = Readings.of(rows.matrix(), rows.ids, ("a", "b", "c"), rows.member)
    one = dataclasses.replace(rule, column="b").fit(Evidence(own))
    assert one.columns == ("b", "a", "c")
    with pytest.raises(UserError, match="which column to judge by"):
        rule.fit(Evidence(own))
    with pytest.raises(UserError, match="did you mean 'covariates/mean'"):
        dataclasses.replace(rule, covariates=("covariates/means",)).fit(Evidence(rows))
    alone = Readings.of(rows.matrix()[:, :1], rows.ids, ("a",), rows.member)
    with pytest.raises(UserError, match="signal 'covariates'"):
        Quantile("a").fit(Evidence(alone))


def test_what_cannot_be_is_refused():
    few = drawn(7, n=30, members=0.5)
    with pytest.raises(UserError, match=r"make no two leaves.*it needs 40"):
        Quantile(leaf=20).fit(few)
    for fields, said in (
        ({"level": 0.4}, "level"),
        ({"bag": 0}, "bag"),
        ({"covariates": ()}, "covariates"),
        ({"rate": 0.0}, "rate"),
    ):
        with pytest.raises(UserError, match=said):
            Quantile(**fields)
    assert isinstance(Quantile(), Slow)
    assert Quantile().quick().trees == 2
