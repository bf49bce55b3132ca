from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence
from score_mia.rules.rmia import Rmia
from tests.rules.test_lira import GAP, scores, shadowed, values_of
from tests.rules.test_reference import moved


def ratios(evidence, temperature, online=True, a=1.0):
    """log ratio(x) of each image, one after the other."""
    own, values, member = values_of(evidence)
    found = []
    for i, s in enumerate(own):
        mean = {
            has: np.mean(np.exp(values[member[:, i] == has, i] / temperature))
            for has in (True, False)
        }
        p = (1 + a) / 2 * mean[False] + (1 - a) / 2
        p = (mean[True] + mean[False]) / 2 if online else p
        found.append(s / temperature - np.log(p))
    return np.asarray(found)


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 5.0},
        {"temperature": 5.0, "online": False},
        {"temperature": 5.0, "online": False, "a": 0.3},
    ],
    ids=str,
)
def test_orders_images_by_the_ratio_of_the_paper(fields):
    evidence = moved(shadowed(0), lambda v: v - 50)
    exact = ratios(evidence, **fields)
    found = scores(Rmia(**fields), evidence)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(exact))
    assert auc(found, evidence.target.member) > 0.9 or fields.get("a")


def test_is_the_share_of_strangers_whose_ratio_it_exceeds():
    """Off each shadow, its own non-members against the other shadows."""
    evidence = shadowed(1, n=300, count=6)
    strangers = []
    for j, other in enumerate(evidence.others):
        rest = tuple(o for k, o in enumerate(evidence.others) if k != j)
        ratio = ratios(Evidence(other, rest), 5.0)
        strangers.append(ratio[~other.member])
    strangers, own = np.concatenate(strangers), ratios(evidence, 5.0)
    for gamma in (1.0, 1.5):
        found = scores(Rmia(temperature=5.0, gamma=gamma), evidence)
        share = [np.mean(r - strangers >= np.log(gamma)) for r in own]
        np.testing.assert_allclose(found, share, atol=1.5 / len(strangers))
        assert len(set(found)) == 300
    false = found[~evidence.target.member]
    assert np.mean(false > 0.9) < 0.1


def test_of_strangers_the_score_is_uniform():
    """Up to the one shadow that the target's own ratio has more: a known size."""
    evidence = shadowed(2, n=4000, count=16, noise=1.0)
    found = scores(Rmia(), evidence)[~evidence.target.member]
    for share in (0.5, 0.9, 0.99):
        assert np.mean(found > share) == pytest.approx(1 - share, abs=0.03)


@pytest.mark.parametrize(("online", "count"), [(True, 4), (False, 4), (False, 16)])
def test_a_high_temperature_makes_it_the_reference_difference(online, count):
    """Then log ratio is (v - mean) / temperature, whose AUC is known.

    The mean of as many models with the image as without it cancels each image's level
    just so: its variance is noise^2 (1 + 1 / count), or 2 / count of half of them.
    """
    evidence = shadowed(3, n=4000, count=count, noise=1.0)
    found = scores(Rmia(temperature=1e4, online=online), evidence)
    spread = 1 + (1 if online else 2) / count
    exact = stats.norm.cdf(GAP / np.sqrt(2 * spread))
    assert auc(found, evidence.target.member) == pytest.approx(exact, abs=0.03)


def test_numbers_beyond_exp_are_no_matter():
    evidence = moved(shadowed(4), lambda v: 1e4 * v)
    for online in (True, False):
        found = scores(Rmia(temperature=1.0, online=online), evidence)
        assert np.isfinite(found).all()
    # The mean of exp is the largest then.
    own, values, member = values_of(evidence)
    most = logsumexp(np.where(member, -np.inf, values), axis=0)
    order = np.argsort(own - most)
    ranks = np.argsort(np.argsort(found))[order]
    assert stats.spearmanr(ranks, np.arange(len(own))).statistic > 0.999


def test_what_cannot_be_is_refused():
    evidence = shadowed(5)
    for fields, said in (
        ({"a": 0.3}, r"a=0\.3.*online=False and give a temperature"),
        ({"a": 0.3, "online": False}, "give a temperature"),
        ({"gamma": 0.0}, "gamma"),
        ({"temperature": -1.0}, "temperature"),
    ):
        with pytest.raises(UserError, match=said):
            Rmia(**fields)
    paper = Rmia(a=0.3, online=False, temperature=1.0)
    with pytest.raises(UserError, match="exceeds 0"):
        scores(paper, evidence)
    assert np.isfinite(scores(paper.quick(), evidence)).all()
    for others in (evidence.others[:1], evidence.others[:2]):
        few = Evidence(evidence.target, others)
        with pytest.raises(UserError, match=r"too few|do not tell"):
            scores(Rmia(), few)
