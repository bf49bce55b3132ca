"""All signals in one attack: hundreds of columns, in units of every size."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy import stats

from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings, joined
from score_mia.rules import Logistic, Ridge
from score_mia.rules.scheme import CrossFit, Known

COLUMNS, SHIFT = 300, 0.1
"""Each column alone has an AUC of 0.53; all together, their best, 0.89."""


def several(seed, n=800, columns=COLUMNS, shift=SHIFT, units=True):
    """Three signals; columns are independent normals, a tenth higher for members.

    In units from 1e-6 to 1e6, far from 0, and one of them constant.
    """
    rng = np.random.default_rng(seed)
    member = rng.permutation(n) < n // 2
    values = rng.normal(size=(n, columns)) + shift * member[:, None]
    if units:
        scale = 10.0 ** np.linspace(-6, 6, columns)
        values = (values + 3) * scale
    ids = np.arange(n)
    thirds = np.array_split(np.arange(columns), 3)
    made = {
        name: Readings.of(values[:, own], ids, tuple(f"c{k}" for k in own), member)
        for name, own in zip(("loss", "pia", "gsa"), thirds, strict=True)
    }
    flat = Readings.of(np.full((n, 1), 7.0), ids, ("flat",), member)
    return Evidence(joined({**made, "flat": flat}))


def reached(rule, units=True):
    known, rows = several(0, units=units), several(1, units=units)
    return rule.fit(known)(rows.unlabelled()), rows.target.member


def expected(n=800):
    """The AUC of the difference of sample means as a direction, for even columns."""
    signal = COLUMNS * SHIFT**2
    noise = signal + COLUMNS * 4 / n
    return stats.norm.cdf(signal / np.sqrt(2 * noise))


@pytest.mark.parametrize(
    "rule", [Ridge(), Logistic(strengths=(0.01,))], ids=("ridge", "logistic")
)
def test_hundreds_of_columns_are_weighed_as_well_as_so_few_images_allow(rule):
    scores, member = reached(rule)
    assert auc(scores, member) == pytest.approx(expected(), abs=0.04)
    plain, _ = reached(rule, units=False)
    assert stats.spearmanr(scores, plain).statistic > 0.999


def test_a_cross_fit_of_hundreds_of_columns_takes_seconds():
    known = several(0)
    one = Known(known.unlabelled(), known.target.member, np.zeros(800, bool))
    start = time.process_time()
    scored = CrossFit(permutations=4).score(Ridge(), one)
    assert time.process_time() - start < 60
    assert auc(scored.scores, one.member) == pytest.approx(expected(640), abs=0.04)
    assert len(scored.scorer.columns) == COLUMNS + 1


def test_ridge_takes_the_strong_penalty_where_there_is_nothing():
    quiet = several(2, shift=0.0)
    scores = Ridge().fit(quiet)(several(3, shift=0.0))
    assert np.std(scores) < 0.1  # labels are -1 and 1
