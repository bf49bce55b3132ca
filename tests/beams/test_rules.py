"""Rules from outside the package on planted readings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings, joined
from score_mia.rules.protocol import Rule, Scorer
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
