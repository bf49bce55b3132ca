"""Privacy bounds against the reference libraries, known numbers and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics import epsilon


def normal(n, mu, seed=0):
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(mu, 1, n), rng.normal(0, 1, n)])
    return scores, np.arange(2 * n) < n


@pytest.mark.parametrize("delta", [0.0, 1e-3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_one_threshold_equals_jax_privacy(delta, sign):
    auditing = pytest.importorskip("jax_privacy.auditing")
    scores, member = normal(500, 2.0)
    scores, member = sign * scores, member if sign > 0 else ~member
    auditor = auditing.CanaryScoreAuditor(scores[member], scores[~member])
    for threshold in (-2.0, 0.3, 2.5):
        expected = auditor.epsilon_clopper_pearson(
            0.05,
            delta,
            one_sided=False,
            threshold_strategy=auditing.Explicit(threshold),
        )
        found = epsilon.epsilon_clopper_pearson(
            scores, member, delta=delta, threshold=threshold
        )
        assert found == pytest.approx(expected, abs=1e-9)


def test_free_choice_is_the_best_threshold_at_the_shared_error():
    scores, member = normal(60, 2.0)
    found = epsilon.epsilon_clopper_pearson(scores, member, delta=1e-3)
    share = 1 - 0.05 / 121
    each = [
        epsilon.epsilon_clopper_pearson(
            scores, member, delta=1e-3, level=share, threshold=float(t)
        )
        for t in [*scores, scores.min() - 1]
    ]
    assert found == pytest.approx(max(each))
    assert found > 0


def test_largest_certifiable_gives_the_known_numbers():
    sizes = (500, 1000, 5000, 10_000, 50_000)
    found = [round(epsilon.largest_certifiable(n, n), 1) for n in sizes]
    assert found == [4.9, 5.6, 7.2, 7.9, 9.5]
    # It is what a perfect attack attains at a threshold fixed beforehand.
    scores = np.concatenate([np.ones(300), np.zeros(200)])
    member = np.arange(500) < 300
    attained = epsilon.epsilon_clopper_pearson(
        scores, member, delta=1e-3, threshold=0.5
    )
    ceiling = epsilon.largest_certifiable(300, 200, 1e-3)
    assert attained == pytest.approx(ceiling)
    # Mirrored classes attain as much, by the other half of the region.
    assert epsilon.largest_certifiable(200, 300, 1e-3) == pytest.approx(ceiling)


@pytest.mark.parametrize("mu", [0.1, 0.245, 1.0, 3.659])
@pytest.mark.parametrize("delta", [5e-4, 1e-5])
def test_gaussian_conversion_equals_dp_accounting(mu, delta):
    dp_accounting = pytest.importorskip("dp_accounting")
    expected = dp_accounting.get_epsilon_gaussian(1 / mu, delta)
    found = epsilon.gaussian_epsilon(mu, delta)
    assert found == pytest.approx(expected, rel=1e-6)
    if found > 0:
        assert epsilon.gaussian_mu(found, delta) == pytest.approx(mu, rel=1e-6)


def test_ceiling_gives_the_known_numbers():
    # The published DP run, accounted tightly: epsilon 18.03 is mu 3.659.
    fpr = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    ceiling = epsilon.dp_ceiling(fpr, 18.0268, 5e-4)
    assert ceiling.mu == pytest.approx(3.659, abs=5e-4)
    np.testing.assert_allclose(ceiling.gaussian, [0.48, 0.72, 0.91, 0.99], atol=0.01)
    assert np.all(ceiling.region > 0.9999)
    # And what it would take to keep the TPR below 15 % at 10 % FPR.
    assert epsilon.gaussian_epsilon(0.245, 5e-4) == pytest.approx(0.64, abs=0.005)
    guarded = epsilon.dp_ceiling(np.array([0.1]), 0.64, 5e-4)
    assert guarded.gaussian[0] == pytest.approx(0.15, abs=0.002)


@pytest.mark.parametrize("level", [0.3, 2.0, 8.0])
def test_ceiling_is_the_region_of_kairouz(level):
    fpr = np.linspace(0, 1, 101)
    delta = 1e-3
    ceiling = epsilon.dp_ceiling(fpr, level, delta)
    grow = math.exp(level)
    tpr = ceiling.region
    assert np.all(tpr <= grow * fpr + delta + 1e-12)
    assert np.all(1 - fpr <= grow * (1 - tpr) + delta + 1e-9)
    # Tight: one of the two, or TPR = 1, binds everywhere.
    first = np.isclose(tpr, grow * fpr + delta)
    second = np.isclose(1 - fpr, grow * (1 - tpr) + delta, atol=1e-9)
    assert np.all(first | second | (tpr == 1))
    # The Gaussian trade-off lies inside, and touches.
    assert np.all(ceiling.gaussian <= tpr + 1e-9)
    fine = epsilon.dp_ceiling(np.geomspace(1e-9, 1, 4000), level, delta)
    assert np.min(fine.region - fine.gaussian) < 1e-4


def test_a_searched_threshold_certifies_less_and_is_attained_too():
    # A perfect attack whose threshold was not known beforehand.
    scores = np.concatenate([np.ones(300), np.zeros(200)])
    member = np.arange(500) < 300
    attained = epsilon.epsilon_clopper_pearson(scores, member, delta=1e-3)
    ceiling = epsilon.largest_certifiable(300, 200, 1e-3, searched=True)
    assert attained == pytest.approx(ceiling)
    assert ceiling < epsilon.largest_certifiable(300, 200, 1e-3) - 0.5


@pytest.mark.parametrize("mu", [0.3, 1.0, 3.66])
def test_the_joint_ceiling_of_a_gaussian_is_its_trade_off(mu):
    fpr = np.geomspace(1e-4, 1, 60)
    most = 1.5 * epsilon.gaussian_epsilon(mu, 5e-4) + 1
    levels = np.linspace(0, most, 48)
    deltas = np.array([epsilon.gaussian_delta(mu, e) for e in levels])
    exact = stats.norm.cdf(stats.norm.ppf(fpr) + mu)
    found = epsilon.joint_ceiling(fpr, levels, deltas)
    assert np.all(found >= exact - 1e-12)  # a guarantee, never less
    np.testing.assert_allclose(found, exact, rtol=0.01)
    # One guarantee alone is its region.
    alone = epsilon.joint_ceiling(fpr, np.array([2.0]), np.array([1e-3]))
    region = epsilon.dp_ceiling(fpr, 2.0, 1e-3).region
    np.testing.assert_allclose(alone, region, rtol=1e-12)


@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_lower_bounds_exceed_the_truth_rarely(mu):
    truth = epsilon.gaussian_epsilon(mu, 5e-4)
    found = np.array(
        [
            (
                epsilon.epsilon_clopper_pearson(*normal(300, mu, i), delta=5e-4),
                epsilon.epsilon_gaussian(*normal(300, mu, i), delta=5e-4),
            )
            for i in range(100)
        ]
    )
    assert np.all(np.mean(found > truth, axis=0) <= 0.05)
    if mu:
        # And they say something: the Gaussian bound more than the other.
        assert np.median(found[:, 1]) > np.median(found[:, 0]) > 0.1


def test_mu_bound_is_its_formula_at_one_threshold():
    scores, member = normal(400, 2.0)
    hits = int(np.sum(scores[member] > 1.0))
    alarms = int(np.sum(scores[~member] > 1.0))
    fnr = stats.beta.ppf(0.975, 400 - hits + 1, hits)
    fpr = stats.beta.ppf(0.975, alarms + 1, 400 - alarms)
    expected = stats.norm.ppf(1 - fpr) - stats.norm.ppf(fnr)
    found = epsilon.mu_lower_bound(scores, member, threshold=1.0)
    assert found == pytest.approx(expected)
    # A score of the wrong sign proves nothing by this one-sided bound.
    assert epsilon.mu_lower_bound(-scores, member) == 0.0


def test_bad_privacy_parameters_are_named():
    with pytest.raises(UserError, match="epsilon=-1"):
        epsilon.dp_ceiling(np.array([0.1]), -1.0, 1e-3)
    with pytest.raises(UserError, match="delta=1"):
        epsilon.gaussian_epsilon(1.0, 1.0)
    with pytest.raises(UserError, match="delta=2"):
        epsilon.epsilon_clopper_pearson(*normal(5, 0.0), delta=2.0)
    with pytest.raises(UserError, match="n_members=0"):
        epsilon.largest_certifiable(0, 5)
    for none in (np.zeros(0), np.array([0.5, -0.1])):
        with pytest.raises(UserError, match="guarantee"):
            epsilon.joint_ceiling(np.ones(1), none, none)
