"""A fixed threshold whose realised FPR is above the nominal one, and not by chance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from score_mia.metrics.intervals import clopper_pearson, evaluate, proportion
from score_mia.metrics.roc import threshold_at
from score_mia.results import AttackResult, Estimate, FixedThreshold

LEVEL = 0.95


def fixed(k, n, nominal, level=LEVEL):
    """A threshold that accuses k of n non-members."""
    rate = proportion(k, n, level)
    return FixedThreshold(0.0, rate, rate, nominal)


def judged(threshold, nominal, outside, inside=None):
    """An attack's numbers at a threshold that was set for this nominal FPR."""
    inside = outside[:20] if inside is None else inside
    scores = np.concatenate([inside, outside])
    member = np.arange(len(scores)) < len(inside)
    entry = evaluate(scores, member, replicates=100, threshold=threshold)
    told = dataclasses.replace(entry.at_fixed_threshold, nominal_fpr=nominal)
    return dataclasses.replace(entry, at_fixed_threshold=told)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(
    ("k", "n"), [(0, 1), (1, 1), (0, 500), (1, 500), (499, 500), (500, 500), (32, 999)]
)
def test_the_bound_is_the_closed_form_at_every_edge(k, n, level):
    low, high = clopper_pearson(k, n, level)
    error = (1 - level) / 2
    assert low == pytest.approx(stats.beta.ppf(error, k, n - k + 1) if k else 0.0)
    assert high == pytest.approx(
        stats.beta.ppf(1 - error, k + 1, n - k) if k < n else 1
    )
    if k == n:
        assert low == pytest.approx(error ** (1 / n))
    # What it says, by the binomial law itself: k or more of n have just this chance.
    if k:
        assert stats.binom.sf(k - 1, n, low) == pytest.approx(error)
    exact = stats.binomtest(k, n).proportion_ci(level, "exact")
    assert (low, high) == pytest.approx((exact.low, exact.high))
    if k:
        assert fixed(k, n, low * (1 - 1e-6), level).above_nominal
    assert not fixed(k, n, low, level).above_nominal


def test_nothing_is_above_what_was_not_promised():
    assert not fixed(500, 500, None).above_nominal
    assert not fixed(0, 500, 0.0).above_nominal
    assert not fixed(500, 500, 1.0).above_nominal
    unknown = FixedThreshold(
        0.0, Estimate(0.5, 0.4, 0.6), Estimate(0.5, None, None), 0.1
    )
    assert not unknown.above_nominal
    assert AttackResult().at_fixed_threshold is None


def test_a_threshold_that_overfits_is_flagged():
    # The best of 200 columns for telling 40 non-members of the fit from members, and
    # the threshold set on these same 40.
    flagged = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        columns = rng.normal(size=(200, 40))
        best = columns[np.argmin(np.quantile(columns, 0.9, axis=1))]
        entry = judged(threshold_at(best, 0.1), 0.1, rng.normal(size=1000))
        flagged += entry.at_fixed_threshold.above_nominal
    assert flagged == 10


@pytest.mark.parametrize("nominal", [0.01, 0.1])
def test_an_honest_threshold_is_flagged_as_seldom_as_the_level_says(nominal):
    audits, n = 2000, 400
    k = np.random.default_rng(5).binomial(n, nominal, size=audits)
    flags = sum(fixed(int(one), n, nominal).above_nominal for one in k)
    # Exact: the chance of a count whose limit is above, (1 - level) / 2 at most.
    chance = sum(
        stats.binom.pmf(one, n, nominal)
        for one in range(n + 1)
        if fixed(one, n, nominal).above_nominal
    )
    assert chance <= (1 - LEVEL) / 2
    assert flags / audits <= chance + 3 * np.sqrt(chance * (1 - chance) / audits)


def test_set_on_other_non_members_flags_follow_the_thresholds_true_rate():
    # A threshold set on few non-members may truly lie too low: the flag is then right.
    wrong = true = 0
    for seed in range(400):
        rng = np.random.default_rng([1, seed])
        threshold = threshold_at(rng.normal(size=200), 0.1)
        k = int((rng.normal(size=500) > threshold).sum())
        above = fixed(k, 500, 0.1).above_nominal
        honest = stats.norm.sf(threshold) <= 0.1
        wrong, true = wrong + (above and honest), true + honest
    assert wrong / true <= (1 - LEVEL) / 2 + 0.015
