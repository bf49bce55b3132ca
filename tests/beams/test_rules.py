"""Rules from outside the package on planted readings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings, joined
from score_mia.rules.protocol import Rule, Scorer, SetTest, TestResult
from tests.beams.parts.cdi import Cdi
from tests.beams.parts.lira import Lira
from tests.beams.parts.logistic import Logistic

# --- a classifier on two signals -----------------------------------------------------

SHIFT, SPREAD = np.asarray([0.8, 0.5]), np.asarray([1.0, 0.2])


def two_signals(seed, n=2000):
    """Gaussian columns of two signals, whose best combination is known."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    values = rng.normal(size=(n, 2)) + member[:, None] * SHIFT
    ids = rng.permutation(10 * n)[:n]
    values = values * SPREAD + (3.0, -7.0)
    made = {
        name: Readings.of(values[:, k : k + 1], ids, (name,), member)
        for k, name in enumerate(("loss", "pia"))
    }
    return Evidence(joined(made))


def test_logistic_finds_the_direction_that_is_best_for_gaussians():
    known, rows = two_signals(0), two_signals(1)
    scorer = Logistic().fit(known)
    assert isinstance(Logistic(), Rule)
    assert isinstance(scorer, Scorer)
    assert scorer.columns == ("loss/loss", "pia/pia")
    found = np.asarray(scorer.weights) * SPREAD
    cosine = found @ SHIFT / np.linalg.norm(found) / np.linalg.norm(SHIFT)
    assert cosine > 0.99
    distance = np.linalg.norm(SHIFT)
    exact = stats.norm.cdf(distance / np.sqrt(2))
    reached = auc(scorer(rows.unlabelled()), rows.target.member)
    spread = np.sqrt(exact * (1 - exact) / 1000)  # of an AUC, bounded from above
    assert abs(reached - exact) < 3 * spread
    for k, column in enumerate(scorer.columns):
        alone = auc(rows.target.column(column), rows.target.member)
        assert abs(alone - stats.norm.cdf(SHIFT[k] / np.sqrt(2))) < 3 * spread
        assert alone < reached


def test_logistic_leaves_a_constant_out_and_needs_both_groups():
    known = two_signals(0, 100).target
    flat = np.concatenate([known.matrix(), np.full((100, 1), 5.0)], axis=1)
    made = Readings.of(flat, known.ids, ("a", "b", "flat"), known.member)
    assert Logistic().fit(Evidence(made)).weights[2] == 0.0
    with pytest.raises(UserError, match="one group"):
        Logistic().fit(Evidence(known.select(known.member)))


# --- shadow models -------------------------------------------------------------------

GAP, NOISE = 1.0, 0.3


def shadowed(seed, n=400, count=4):
    """Readings of a target and of its shadows: each image has a level of its own.

    A reading is that level, which spreads ten times as far as membership moves it, plus
    the gap for a member, plus noise. Each image is a member of half of the shadows.
    """
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.permutation(5 * n)[:n])
    level = rng.normal(size=n) * 10 * GAP

    def readings(member):
        values = level + GAP * member + NOISE * rng.normal(size=n)
        return Readings.of(values[:, None], ids, ("loss@200",), member)

    turns = np.argsort(rng.random((count, n)), axis=0) < count // 2
    return Evidence(readings(np.arange(n) % 2 == 0), tuple(map(readings, turns)))


def naive(evidence):
    """The likelihood ratio image by image, with variances pooled over images."""
    target, n = evidence.target, len(evidence.target)
    member = np.asarray([o.member for o in evidence.others])
    values = np.asarray([o.matrix()[:, 0] for o in evidence.others], np.float64)
    law = {}
    for has in (True, False):
        own = [values[member[:, i] == has, i] for i in range(n)]
        variance = sum(((v - v.mean()) ** 2).sum() for v in own)
        freedom = sum(len(v) - 1 for v in own)
        law[has] = ([v.mean() for v in own], np.sqrt(variance / freedom))
    s = target.matrix()[:, 0]
    return stats.norm.logpdf(s, *law[True]) - stats.norm.logpdf(s, *law[False])


def test_lira_sees_past_each_image_s_own_level():
    evidence = shadowed(3)
    known = Evidence(
        evidence.target.select(np.zeros(400, bool)),
        evidence.others,
    )
    scorer = Lira().fit(known)
    assert isinstance(scorer, Scorer)
    assert scorer == Lira().fit(known)
    scores = scorer(evidence.unlabelled())
    np.testing.assert_allclose(scores, naive(evidence), rtol=1e-9, atol=1e-9)
    member = evidence.target.member
    assert auc(evidence.target.matrix()[:, 0], member) < 0.6
    assert auc(scores, member) > 0.9
    some = np.arange(400) % 7 == 0
    np.testing.assert_array_equal(scorer(evidence.select(some)), scores[some])


def test_lira_on_the_target_s_nonmembers_alone_says_nothing():
    evidence = shadowed(4)
    nobody = np.zeros(400, bool)
    rng = np.random.default_rng(9)
    values = evidence.target.matrix() - GAP * evidence.target.member[:, None]
    blank = Readings.of(values, evidence.target.ids, evidence.target.names, nobody)
    scores = Lira().fit(evidence)(Evidence(blank, evidence.others))
    assert abs(auc(scores, rng.permutation(400) < 200) - 0.5) < 0.1


def test_lira_without_a_mixed_image_is_refused():
    evidence = shadowed(3)
    (first, *_) = evidence.others
    everyone = dataclasses.replace(first, member=np.ones(400, bool))
    fewer = first.select(np.arange(400) > 0)
    for others, said in (
        ((), "not every shadow"),
        ((first, fewer), "not every shadow"),
        ((everyone, everyone), "overlapping shadows"),
    ):
        rows = Evidence(evidence.target, others)
        with pytest.raises(UserError, match=said):
            Lira().fit(rows)(rows)


# --- a set ---------------------------------------------------------------------------


def a_set(seed, n, members):
    """Eight columns of n images; each moves by 0.3 for a member."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 8)) + 0.3 * (np.arange(n) < members)[:, None]
    names = tuple(f"c{k}" for k in range(8))
    return Evidence(Readings.of(values, seed * n + np.arange(n), names))


@pytest.mark.parametrize(("members", "certain"), [(200, 1e-6), (100, 0.01)])
def test_a_set_of_members_is_found(members, certain):
    """No image alone gives it away: the best AUC is 0.73 for members."""
    assert isinstance(Cdi(), SetTest)
    found = Cdi().judge(a_set(0, 200, members), a_set(1, 200, 0), seed=0)
    assert isinstance(found, TestResult)
    assert found.p_value < certain
    assert found == Cdi().judge(a_set(0, 200, members), a_set(1, 200, 0), seed=0)


def test_the_test_has_its_size_where_nobody_was_trained_on():
    """The p-value is uniform: 500 sets, by Kolmogorov's test and at 5 %."""
    p_values = [
        Cdi().judge(a_set(2 * k, 60, 0), a_set(2 * k + 1, 60, 0), seed=k).p_value
        for k in range(500)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    false = np.sum(np.asarray(p_values) <= 0.05)
    low, high = stats.binom.interval(0.99, 500, 0.05)
    assert low <= false <= high
