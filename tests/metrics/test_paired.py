"""The margin of one attack over another, on the same images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from score_mia.metrics.crossfit import cross_fitted
from score_mia.metrics.intervals import delong
from score_mia.metrics.paired import paired
from score_mia.metrics.roc import auc


def test_equals_delong_on_unpaired_scores():
    rng = np.random.default_rng(0)
    member = np.arange(4000) % 2 == 0
    first, second = rng.normal(size=(2, 4000)) + member * [[0.5], [0.2]]
    margin = paired(first, second, member)
    variance = delong(first, member)[1] + delong(second, member)[1]
    reach = 1.96 * np.sqrt(variance)
    assert margin.value == auc(first, member) - auc(second, member)
    assert margin.high - margin.value == pytest.approx(reach, rel=0.05)
    assert margin.value - margin.low == pytest.approx(reach, rel=0.05)


def test_scores_less_themselves_are_nothing():
    member = np.arange(50) % 2 == 0
    scores = np.random.default_rng(1).normal(size=50)
    margin = paired(scores, scores, member)
    assert margin.value == 0.0
    assert margin.high - margin.low < 0.02
    opposite = paired(scores, -scores, member)
    assert opposite.value == pytest.approx(2 * auc(scores, member) - 1)


@pytest.mark.parametrize("excess", [(1.0, 1.0), (1.0, 2.0)])
def test_swapped_is_mirrored(excess):
    rng = np.random.default_rng(2)
    member = np.arange(60) % 3 == 0
    first, second = rng.normal(size=(2, 60)) + member * [[2.0], [0.0]]
    one = paired(first, second, member, excess=excess)
    other = paired(second, first, member, excess=excess[::-1])
    np.testing.assert_allclose(
        (one.value, one.low, one.high), (-other.value, -other.high, -other.low)
    )


def test_a_perfect_attack_is_not_certain():
    member = np.arange(40) % 2 == 0
    blind = np.random.default_rng(3).normal(size=40)
    margin = paired(member.astype(float), blind, member)
    assert margin.low < margin.value - 0.1


SHIFTS = {"nothing": (0.0, 0.0), "an attack": (1.0, 0.0), "both": (1.0, 1.0)}


def missed(shifts, n, audits):
    """Shares of audits whose interval lies above, below the truth.

    The attack sees what the blind classifier sees as well, so that the two agree.
    """
    (attack, shift), margins, blinds = shifts, [], []
    member = np.arange(2 * n) < n
    for seed in range(audits):
        rng = np.random.default_rng([seed, n])
        features = rng.normal(size=(2 * n, 10))
        features[:, 0] += member * shift
        scores = features[:, 0] + rng.normal(size=2 * n) + member * attack
        blind = cross_fitted(features, member, permutations=99, seed=seed)
        known, excess = blind.standardised, (1.0, blind.excess)
        margins.append(paired(scores, known, member, excess=excess))
        blinds.append(auc(known, member))
    # Of all audits together: what is true of so large a blind classifier on average.
    truth = stats.norm.cdf((attack + shift) / 2)
    truth -= np.mean(blinds) if shift else 0.5
    above = np.mean([margin.low > truth for margin in margins])
    return above, np.mean([margin.high < truth for margin in margins])


@pytest.mark.parametrize("name", SHIFTS)
def test_the_margin_over_a_blind_classifier_is_rarely_missed(name):
    assert sum(missed(SHIFTS[name], 40, 25)) <= 0.17


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 100, 300])
@pytest.mark.parametrize("name", SHIFTS)
def test_coverage_of_the_margin(name, n):
    above, below = missed(SHIFTS[name], n, 600)
    print(f"{name}, {n} + {n}: above {above:.3f}, below {below:.3f}")
    assert above + below <= 0.07
