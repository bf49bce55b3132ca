"""LiRA on readings of a target and its shadows whose laws are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings
from score_mia.rules.lira import Lira
from score_mia.rules.protocol import Scorer

GAP, NOISE = 1.0, 0.3


def shadowed(seed, n=400, count=4, gap=GAP, noise=NOISE, names=("loss@200",)):
    """Readings of a target and of its shadows: each image has a level of its own.

    A reading is that level, which spreads ten times as far as 1, plus the gap for a
    member, plus noise. Each image is a member of half of the shadows.
    """
    rng = np.random.default_rng(seed)
    ids = np.sort(rng.permutation(5 * n)[:n])
    level = rng.normal(size=(n, len(names))) * 10

    def readings(member):
        values = level + gap * member[:, None]
        values = values + np.reshape(noise, (-1, 1)) * rng.normal(size=level.shape)
        return Readings.of(values, ids, names, member)

    turns = np.argsort(rng.random((count, n)), axis=0) < count // 2
    return Evidence(readings(np.arange(n) % 2 == 0), tuple(map(readings, turns)))


def told(evidence):
    """What a fit is handed: the shadows, and no row of the target."""
    nobody = np.zeros(len(evidence.target), bool)
    return Evidence(evidence.target.select(nobody), evidence.others)


def scores(rule, evidence):
    return rule.fit(told(evidence))(evidence.unlabelled())


def values_of(evidence):
    """The target's column [n], the shadows' [s, n], and who is in them."""
    member = np.asarray([other.member for other in evidence.others])
    values = [other.matrix()[:, 0] for other in evidence.others]
    own = evidence.target.matrix()[:, 0].astype(np.float64)
    return own, np.asarray(values, np.float64), member


def naive(evidence):
    """The likelihood ratio image by image, with variances pooled over images."""
    s, values, member = values_of(evidence)
    law = {}
    for has in (True, False):
        own = [values[member[:, i] == has, i] for i in range(len(s))]
        variance = sum(((v - v.mean()) ** 2).sum() for v in own)
        freedom = sum(len(v) - 1 for v in own)
        law[has] = ([v.mean() for v in own], np.sqrt(variance / freedom))
    return stats.norm.logpdf(s, *law[True]) - stats.norm.logpdf(s, *law[False])


def test_sees_past_each_image_s_own_level():
    evidence = shadowed(3)
    scorer = Lira().fit(told(evidence))
    assert isinstance(scorer, Scorer)
    assert scorer == Lira().fit(told(evidence)) != Lira().fit(told(shadowed(4)))
    found = scorer(evidence.unlabelled())
    np.testing.assert_allclose(found, naive(evidence), rtol=1e-9, atol=1e-9)
    member = evidence.target.member
    assert auc(evidence.target.matrix()[:, 0], member) < 0.6
    assert auc(found, member) > 0.9
    some = np.arange(400) % 7 == 0
    np.testing.assert_array_equal(scorer(evidence.select(some)), found[some])
    assert scorer.about == "likelihood ratio of loss@200, beside 4 shadows"


def test_on_nonmembers_alone_it_says_nothing():
    evidence = shadowed(4)
    rows, rng = evidence.target, np.random.default_rng(9)
    values = rows.matrix() - GAP * rows.member[:, None]
    blank = Readings.of(values, rows.ids, rows.names)
    found = scores(Lira(), evidence._replace(target=blank))
    assert abs(auc(found, rng.permutation(400) < 200) - 0.5) < 0.1


@pytest.mark.parametrize("count", [4, 16])
def test_offline_is_as_good_as_its_means_are(count):
    """v - m_out is normal with variance noise^2 (1 + 2 / count): a known AUC."""
    evidence = shadowed(5, n=4000, count=count, noise=1.0)
    found = scores(Lira(online=False), evidence)
    own, values, member = values_of(evidence)
    out = np.where(member, 0, values).sum(0) / (~member).sum(0)
    assert stats.spearmanr(found, own - out).statistic == pytest.approx(1, abs=1e-9)
    exact = stats.norm.cdf(GAP / np.sqrt(2 * (1 + 2 / count)))
    assert auc(found, evidence.target.member) == pytest.approx(exact, abs=0.03)
    away = np.exp(-found)  # the chance that a non-member exceeds it, up to the means
    assert np.mean(away[~evidence.target.member] < 0.5) == pytest.approx(0.5, abs=0.04)


def test_columns_are_added_as_if_independent():
    evidence = shadowed(6, names=("a", "b"))
    for online in (True, False):
        both = scores(Lira(online=online), evidence)
        each = [scores(Lira((c,), online), evidence) for c in ("a", "b")]
        np.testing.assert_allclose(both, each[0] + each[1], rtol=1e-12)
        member = evidence.target.member
        assert auc(both, member) > max(auc(one, member) for one in each)
    assert Lira().fit(told(evidence)).columns == ("a", "b")


def test_many_shadows_give_each_image_a_variance_of_its_own():
    rng = np.random.default_rng(0)
    noise = np.exp(rng.normal(size=200))
    evidence = shadowed(7, n=200, count=80, noise=noise)
    s, values, member = values_of(evidence)
    law = [
        (own.mean(1), own.std(1, ddof=1))
        for own in (
            np.stack([values[member[:, i] == has, i] for i in range(200)])
            for has in (True, False)
        )
    ]
    exact = stats.norm.logpdf(s, *law[0]) - stats.norm.logpdf(s, *law[1])
    np.testing.assert_allclose(scores(Lira(), evidence), exact, rtol=1e-9, atol=1e-9)
    pooled = scores(Lira(own=None), evidence)
    np.testing.assert_allclose(pooled, naive(evidence), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(scores(Lira(own=41), evidence), pooled)
    member = evidence.target.member
    assert auc(scores(Lira(), evidence), member) > auc(pooled, member)


def test_images_that_are_in_no_shadow_take_the_others_gap():
    """As of "auxiliary" shadows, which never have a judged image."""
    evidence = shadowed(8, n=2000, count=8, noise=1.0)
    judged = np.arange(2000) < 1000
    others = []
    for other in evidence.others:
        member = other.member & ~judged
        values = other.matrix() - GAP * (other.member & judged)[:, None]
        others.append(Readings.of(values, other.ids, other.names, member))
    evidence = Evidence(evidence.target, tuple(others)).select(judged)
    exact = stats.norm.cdf(GAP / np.sqrt(2 * (1 + 1 / 8)))
    assert auc(scores(Lira(), evidence), evidence.target.member) == pytest.approx(
        exact, abs=0.05
    )


def test_what_cannot_be_is_refused():
    evidence = shadowed(3)
    (first, second, *_) = evidence.others
    everyone = dataclasses.replace(first, member=np.ones(400, bool))
    fewer = first.select(np.arange(400) > 0)
    opposite = dataclasses.replace(first, member=~first.member)
    broken = first.matrix().copy()
    broken[3] = np.nan
    broken = Readings.of(broken, first.ids, first.names, first.member)
    for rule, others, said in (
        (Lira(), (), "no shadow model"),
        (Lira(), (first, fewer), "not every shadow"),
        (Lira(), (everyone, everyone), "overlapping shadows"),
        (Lira(), (first, opposite), "no variance"),
        (Lira(), (first, broken), "1 NaN"),
        (Lira(online=False), (first,), "no variance"),
        (Lira(online=False), (first, everyone, second), "training set of every"),
        (Lira(("loss@9",)), (first, second), "did you mean 'loss@200'"),
    ):
        with pytest.raises(UserError, match=said):
            scores(rule, Evidence(evidence.target, others))
    for fields, said in (({"columns": ()}, "columns"), ({"own": 1}, "own=1")):
        with pytest.raises(UserError, match=said):
            Lira(**fields)


def test_a_column_that_says_nothing_is_no_division_by_zero():
    evidence = shadowed(3)
    flat = [
        dataclasses.replace(
            Readings.of(np.ones((400, 1)), rows.ids, rows.names, rows.member)
        )
        for rows in (evidence.target, *evidence.others)
    ]
    for online in (True, False):
        found = scores(Lira(online=online), Evidence(flat[0], tuple(flat[1:])))
        assert np.isfinite(found).all()
        assert np.ptp(found) == 0
