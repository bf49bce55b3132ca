from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.rules.mean import Mean
from score_mia.signals import Signals

MEMBER = np.arange(120) < 60


def record(seed=0, scale=(1.0, 100.0), member=MEMBER):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(member), 2)) * scale + (3.0, -7.0)
    values[:, 0] += 2 * member
    return Signals.of(values, member, np.arange(len(member)), ("a", "b"))


def test_without_reference_it_is_the_plain_mean():
    signals = record()
    nobody = signals.select(np.zeros(120, bool))
    for rule in (Mean(), Mean().fit(nobody), Mean().fit(signals).fit(nobody)):
        np.testing.assert_allclose(rule.score(signals), signals.values.mean(1))
        assert rule.chosen == "plain mean of all columns"


def test_fitted_it_is_the_mean_of_standard_scores_of_non_members():
    signals = record()
    fitted = Mean().fit(signals)
    outside = fitted.score(signals.select(~MEMBER))
    # Among the reference non-members each column has mean 0 and variance 1, so the
    # mean of two has mean 0 and variance (1 + correlation) / 2.
    correlation = np.corrcoef(signals.values[~MEMBER].T)[0, 1]
    assert outside.mean() == pytest.approx(0, abs=1e-6)
    assert outside.var(ddof=1) == pytest.approx((1 + correlation) / 2, rel=1e-5)
    assert fitted.chosen == "mean of 2 columns, each scaled by 60 reference non-members"


def test_a_noisy_column_no_longer_outweighs_the_others():
    fitted, evaluation = Mean().fit(record(0)), record(1)
    plain = auc(Mean().score(evaluation), MEMBER)
    assert auc(fitted.score(evaluation), MEMBER) > plain + 0.15


def test_the_unit_of_a_column_does_not_matter():
    reference, evaluation = record(0), record(1)

    def in_other_units(signals):
        return dataclasses.replace(
            signals, values=signals.values * np.float32([4, 0.5]) + np.float32([8, 1])
        )

    np.testing.assert_allclose(
        Mean().fit(in_other_units(reference)).score(in_other_units(evaluation)),
        Mean().fit(reference).score(evaluation),
        atol=1e-4,
    )


def test_known_members_are_neither_needed_nor_used():
    signals = record()
    altered = dataclasses.replace(
        signals, values=np.where(MEMBER[:, None], 1e6, signals.values)
    )
    population = signals.select(~MEMBER)
    assert Mean().fit(signals) == Mean().fit(altered) == Mean().fit(population)


def test_averages_the_named_columns_only():
    signals = record()
    np.testing.assert_allclose(
        Mean(("b",)).score(signals), signals.values[:, 1], rtol=1e-6
    )
    assert Mean(("b",)).fit(signals).scale.columns == ("b",)
    with pytest.raises(UserError, match="no column 'c'"):
        Mean(("c",)).fit(signals)
    with pytest.raises(UserError, match="names no column"):
        Mean(())


def test_a_constant_column_is_left_out():
    signals = record()
    values = np.column_stack([signals.values, np.full(120, 0.1, np.float32)])
    signals = dataclasses.replace(signals, values=values, names=("a", "b", "c"))
    assert Mean().fit(signals).scale.columns == ("a", "b")
    with pytest.raises(UserError, match="every column is constant"):
        Mean(("c",)).fit(signals)


def test_bad_reference_data_are_named():
    signals = record()
    with pytest.raises(UserError, match="hold 0 non-members"):
        Mean().fit(signals.select(MEMBER))
    signals.values[100, 1] = np.inf
    with pytest.raises(UserError, match="1 NaN or infinite"):
        Mean().fit(signals)
    with pytest.raises(UserError, match="no columns"):
        Mean().score(Signals.of(np.zeros((2, 0)), np.arange(2) == 1, np.arange(2), ()))
