"""Intervals: published numbers, exact laws, degenerate attacks, the JSON schema."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from score_mia.check import UserError
from score_mia.metrics import intervals, roc
from score_mia.results import AttackResult
from score_mia.typed import from_json, to_json


def normal(n, shift, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(shift, 1, n), rng.normal(0, 1, n)])
    return scores, np.arange(2 * n) < n


def perfect(n):
    scores = np.concatenate([np.linspace(2, 3, n), np.linspace(0, 1, n)])
    return scores, np.arange(2 * n) < n


def test_clopper_pearson_gives_the_known_numbers():
    assert intervals.clopper_pearson(0, 1000)[1] == pytest.approx(0.0037, abs=5e-5)
    one_sided = intervals.clopper_pearson(0, 1000, one_sided=True)[1]
    assert one_sided == pytest.approx(0.0030, abs=5e-5)
    low, high = intervals.clopper_pearson(710, 1000)
    assert (round(low, 3), round(high, 3)) == (0.681, 0.738)
    assert intervals.clopper_pearson(10, 1000) == pytest.approx((0.0048, 0.0183), 0.01)


@given(st.integers(1, 60), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_equals_scipy(n, data, level):
    k = data.draw(st.integers(0, n))
    expected = stats.binomtest(k, n).proportion_ci(level, "exact")
    np.testing.assert_allclose(intervals.clopper_pearson(k, n, level), expected)


def test_delong_equals_the_double_sum_of_its_definition():
    scores, member = normal(40, 0.7)
    scores = scores.round(1)
    x, y = scores[member], scores[~member]
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    variance = np.var(wins.mean(1), ddof=1) / 40 + np.var(wins.mean(0), ddof=1) / 40
    found = intervals.delong(scores, member)
    assert found == pytest.approx((wins.mean(), variance))


def test_bootstrap_rows_are_metrics_of_resamples():
    # An independent, slow bootstrap with scikit-learn has the same distribution.
    scores, member = normal(60, 1.0)
    scores = scores.round(1)
    found = intervals.bootstrap(roc.tally(scores, member), (0.1,), 3000, 1)
    rng = np.random.default_rng(2)
    inside, outside = np.flatnonzero(member), np.flatnonzero(~member)
    slow = []
    for _ in range(400):
        rows = np.concatenate([rng.choice(inside, 60), rng.choice(outside, 60)])
        slow.append(
            [
                roc_auc_score(member[rows], scores[rows]),
                roc.balanced_accuracy(scores[rows], member[rows]),
                roc.tpr_at_fpr(scores[rows], member[rows], 0.1),
            ]
        )
    slow = np.array(slow)
    error = 4 * slow.std(0) * np.sqrt(1 / 400 + 1 / 3000)
    assert np.all(np.abs(found.mean(0) - slow.mean(0)) < error)
    np.testing.assert_allclose(found.std(0), slow.std(0), rtol=0.15)


def test_bootstrap_does_not_depend_on_how_memory_cuts_it(monkeypatch):
    scores, member = normal(30, 1.0)
    count = roc.tally(scores, member)
    whole = intervals.bootstrap(count, roc.FPRS, 50, 3)
    np.testing.assert_array_equal(whole, intervals.bootstrap(count, roc.FPRS, 50, 3))
    assert np.any(whole != intervals.bootstrap(count, roc.FPRS, 50, 4))
    monkeypatch.setattr(intervals, "_CELLS", 1)
    single = intervals.bootstrap(count, roc.FPRS, 50, 3)
    assert single.shape == whole.shape
    np.testing.assert_array_equal(single, whole)


def test_evaluate_does_not_depend_on_the_order_of_images():
    scores, member = normal(50, 1.0)
    order = np.random.default_rng(0).permutation(100)
    assert intervals.evaluate(scores, member) == intervals.evaluate(
        scores[order], member[order]
    )


def test_tpr_interval_is_exact_at_the_ends():
    # Every member above every non-member, and K > 0 certain: Clopper-Pearson.
    count = roc.tally(*perfect(200))
    low, high = intervals.tpr_interval(count, 0.5)
    assert (low, high) == pytest.approx(intervals.clopper_pearson(200, 200), abs=1e-6)
    # With 100 non-members none may lie above the threshold of 1 %, by chance 37 %:
    # nothing can be excluded from below.
    assert intervals.tpr_interval(roc.tally(*perfect(100)), 0.01)[0] == 0.0
    # Against the mixture's definition, by simulation.
    scores, member = normal(300, 1.0)
    low, high = intervals.tpr_interval(roc.tally(scores, member), 0.1)
    rng = np.random.default_rng(0)
    k = rng.binomial(300, 0.1, 40_000)
    outside = np.sort(scores[~member])[::-1]
    inside = scores[member]
    above = np.array([np.sum(inside > outside[j]) for j in range(80)])
    lows = rng.beta(above[k - 1], 300 - above[k - 1] + 1)
    highs = rng.beta(above[k] + 1, 300 - above[k])
    assert low == pytest.approx(np.quantile(lows, 0.025), abs=0.004)
    assert high == pytest.approx(np.quantile(highs, 0.975), abs=0.004)


def test_tpr_interval_hardly_widens_when_positions_are_binned():
    # 40,000 non-members: some 1,000 positions are summed up in 256 bins or so.
    scores, member = normal(40_000, 1.0)
    low, high = intervals.tpr_interval(roc.tally(scores, member), 0.3)
    truth = stats.norm.cdf(stats.norm.ppf(0.3) + 1)
    density = stats.norm.pdf(stats.norm.ppf(0.3) + 1) / stats.norm.pdf(
        stats.norm.ppf(0.3)
    )
    spread = np.sqrt((truth * (1 - truth) + density**2 * 0.21) / 40_000)
    assert low < truth < high
    assert high - low == pytest.approx(2 * 1.96 * spread, rel=0.05)


def test_a_perfect_attack_is_not_certain():
    found = intervals.evaluate(*perfect(1000))
    low = intervals.clopper_pearson(1000, 1000)[0]
    assert found.auc.interval == pytest.approx((1.0, low, 1.0))
    assert found.auc.resolvable
    assert found.balanced_accuracy.low == pytest.approx(low)
    for fpr in (0.1, 0.01):
        assert found.tpr_at_fpr[fpr].low == pytest.approx(low, abs=1e-4)
    assert found.tpr_at_zero_fp.fpr_upper == pytest.approx(0.0037, abs=5e-5)


def test_a_wrong_sign_is_not_certain_either():
    scores, member = perfect(100)
    found = intervals.evaluate(-scores, member)
    assert found.auc.value == 0.0
    assert found.auc.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert found.balanced_accuracy.value == 0.5


def test_schema_and_resolution():
    scores, member = normal(1000, 1.0)
    found = intervals.evaluate(scores, member, replicates=200)
    assert from_json(AttackResult, to_json(found), "found") == found
    assert found.rates == (0.1, 0.01, 0.001, 0.0001)
    below = found.tpr_at_fpr[0.0001]
    assert below.value is None
    assert below.resolvable is False
    assert below.low == 0.0
    assert 0 < below.high < found.tpr_at_fpr[0.001].high + 1e-3
    assert found.tpr_at_fpr[0.001].resolvable is True
    for fpr in (0.1, 0.01, 0.001):
        entry = found.tpr_at_fpr[fpr]
        assert entry.value == roc.tpr_at_fpr(scores, member, fpr)
        assert entry.low < entry.value < entry.high
    assert found.auc.value == pytest.approx(roc.auc(scores, member))
    assert found.members == found.nonmembers == 1000
    assert found.at_fixed_threshold is None


def test_fixed_threshold_is_judged_by_clopper_pearson():
    scores, member = normal(500, 1.0)
    threshold = roc.threshold_at(normal(999, 0.0, seed=9)[0], 0.05)
    found = intervals.evaluate(scores, member, replicates=100, threshold=threshold)
    fixed = found.at_fixed_threshold
    hits = int(np.sum(scores[member] > threshold))
    alarms = int(np.sum(scores[~member] > threshold))
    assert fixed.threshold == threshold
    assert fixed.tpr.value == hits / 500
    assert (fixed.fpr.low, fixed.fpr.high) == pytest.approx(
        intervals.clopper_pearson(alarms, 500)
    )
    # On the threshold itself an image is no member.
    tied = intervals.evaluate(
        np.array([1.0, 1.0]), np.array([True, False]), replicates=100, threshold=1.0
    ).at_fixed_threshold
    assert tied.tpr.value == tied.fpr.value == 0.0


def test_one_image_of_each_class_says_next_to_nothing():
    found = intervals.evaluate(np.array([1.0, 0.0]), np.array([True, False]))
    assert found.auc.low == pytest.approx(0.025)
    assert found.tpr_at_fpr[0.1].value is None


def test_band_agrees_with_the_table_and_holds_the_curve():
    scores, member = normal(400, 1.0)
    grid = np.array([0.0001, 0.001, 0.01, 0.1, 1.0])
    band = intervals.roc_band(scores, member, grid, replicates=400)
    table = intervals.evaluate(scores, member, replicates=400).tpr_at_fpr
    assert np.all(np.isnan(band.tpr) == [True, True, False, False, False])
    assert band.tpr[3] == table[0.1].value
    assert band.low[3] == pytest.approx(table[0.1].low, abs=0.01)
    assert band.high[3] == pytest.approx(table[0.1].high, abs=0.01)
    assert np.all(np.diff(band.low) >= 0)
    assert np.all(np.diff(band.high) >= 0)
    assert band.tpr[4] == band.high[4] == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 95.0}, r"level=95\.0"),
        ({"replicates": 3}, "replicates=3"),
        ({"threshold": float("nan")}, "threshold=nan"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        intervals.evaluate(np.array([1.0, 0.0]), np.array([True, False]), **options)
