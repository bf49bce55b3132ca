from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings
from score_mia.rules.lira import Lira
from score_mia.rules.reference import ReferenceRatio
from tests.rules.test_lira import GAP, scores, shadowed, values_of


def moved(evidence, change):
    """The same readings of every model, each value changed."""

    def one(rows):
        return Readings.of(change(rows.matrix()), rows.ids, rows.names, rows.member)

    return Evidence(one(evidence.target), tuple(map(one, evidence.others)))


def test_is_the_column_less_its_mean_off_models_without_the_image():
    evidence = shadowed(0)
    own, values, member = values_of(evidence)
    out = [values[~member[:, i], i].mean() for i in range(len(own))]
    found = scores(ReferenceRatio(), evidence)
    np.testing.assert_allclose(found, own - out, rtol=1e-9, atol=1e-9)
    below = moved(evidence, lambda v: v - 100)
    ratio = scores(ReferenceRatio(kind="ratio"), below)
    own, values, member = values_of(below)
    out = np.asarray([values[~member[:, i], i].mean() for i in range(len(own))])
    np.testing.assert_allclose(ratio, -own / out, rtol=1e-12)
    # Minus a loss: members, whose loss is smaller, are the higher ones.
    assert auc(ratio, evidence.target.member) > 0.9


def test_one_shadow_is_enough():
    """v - m_out has variance 2 noise^2 with one shadow: the AUC is Phi(gap / 2)."""
    evidence = shadowed(1, n=8000, count=2, noise=1.0)
    first = evidence.others[0]
    judged = ~first.member
    evidence = Evidence(evidence.target, (first,)).select(judged)
    found = scores(ReferenceRatio(), evidence)
    exact = stats.norm.cdf(GAP / 2)
    assert auc(found, evidence.target.member) == pytest.approx(exact, abs=0.03)


def test_orders_images_as_offline_lira_does():
    evidence = shadowed(2, count=8)
    one, other = (scores(r, evidence) for r in (ReferenceRatio(), Lira(online=False)))
    assert stats.spearmanr(one, other).statistic == pytest.approx(1, abs=1e-9)


def test_what_cannot_be_is_refused():
    evidence = shadowed(3)
    with pytest.raises(UserError, match="not of one sign"):
        scores(ReferenceRatio(kind="ratio"), evidence)
    with pytest.raises(UserError, match="training set of every shadow"):
        scores(ReferenceRatio(), Evidence(evidence.target, evidence.others[:1]))
    with pytest.raises(UserError, match="2 columns and none is named"):
        scores(ReferenceRatio(), shadowed(3, names=("a", "b")))
    with pytest.raises(UserError, match="did you mean 'ratio'"):
        ReferenceRatio(kind="ration")
    # Before training it is tried on made-up numbers, which are of either sign.
    assert np.isfinite(scores(ReferenceRatio(kind="ratio").quick(), evidence)).all()
