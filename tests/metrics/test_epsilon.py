"""Privacy bounds against the reference libraries, known numbers and coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics import epsilon
from tests.oracles import gaussian_epsilon


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
    if expected > 0:
        assert epsilon.gaussian_mu(expected, delta) == pytest.approx(mu, rel=1e-6)


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
    most = 1.5 * gaussian_epsilon(mu, 5e-4) + 1
    levels = np.linspace(0, most, 48)
    deltas = np.array([epsilon.gaussian_delta(mu, e) for e in levels])
    exact = stats.norm.cdf(stats.norm.ppf(fpr) + mu)
    found = epsilon.joint_ceiling(fpr, levels, deltas)
    assert np.all(found >= exact - 1e-12)  # a guarantee, never less
    np.testing.assert_allclose(found, exact, rtol=0.01)
    # One guarantee alone is its region.
    alone = epsilon.joint_ceiling(fpr, np.array([2.0]), np.array([1e-3]))
    grow = math.exp(2.0)
    assert np.all(alone <= grow * fpr + 1e-3 + 1e-12)
    assert np.all(1 - fpr <= grow * (1 - alone) + 1e-3 + 1e-9)
    # Tight: one of the two, or TPR = 1, binds everywhere.
    first = np.isclose(alone, grow * fpr + 1e-3)
    second = np.isclose(1 - fpr, grow * (1 - alone) + 1e-3, atol=1e-9)
    assert np.all(first | second | (alone == 1))


@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_lower_bounds_exceed_the_truth_rarely(mu):
    truth = gaussian_epsilon(mu, 5e-4)
    found = [
        epsilon.epsilon_clopper_pearson(*normal(300, mu, i), delta=5e-4)
        for i in range(100)
    ]
    assert np.mean(np.array(found) > truth) <= 0.05
    if mu:  # and they say something
        assert np.median(found) > 0.1


def test_bad_privacy_parameters_are_named():
    with pytest.raises(UserError, match="epsilon=-1"):
        epsilon.gaussian_mu(-1.0, 1e-3)
    with pytest.raises(UserError, match="delta=1"):
        epsilon.gaussian_mu(1.0, 1.0)
    with pytest.raises(UserError, match="delta=2"):
        epsilon.epsilon_clopper_pearson(*normal(5, 0.0), delta=2.0)
    with pytest.raises(UserError, match="n_members=0"):
        epsilon.largest_certifiable(0, 5)
    for none in (np.zeros(0), np.array([0.5, -0.1])):
        with pytest.raises(UserError, match="guarantee"):
            epsilon.joint_ceiling(np.ones(1), none, none)
