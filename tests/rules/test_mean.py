from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings
from score_mia.rules.mean import Mean

MEMBER = np.arange(120) < 60


def record(seed=0, scale=(1.0, 100.0), member=MEMBER):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(member), 2)) * scale + (3.0, -7.0)
    values[:, 0] += 2 * member
    return Evidence(Readings.of(values, np.arange(len(member)), ("a", "b"), member))


def altered(evidence, change):
    """The same rows with other values, and perhaps more columns."""
    rows = evidence.target
    values = change(rows.matrix())
    names = ("a", "b", "c")[: values.shape[1]]
    return Evidence(Readings.of(values, rows.ids, names, rows.member))


def test_without_reference_it_is_the_plain_mean():
    signals = record()
    nobody = signals.select(np.zeros(120, bool))
    scorer = Mean().fit(nobody)
    np.testing.assert_allclose(scorer(signals), signals.target.matrix().mean(1))
    assert scorer.about == "plain mean of all columns"
    assert scorer.fitted_on == 0


def test_fitted_it_is_the_mean_of_standard_scores_of_non_members():
    signals = record()
    fitted = Mean().fit(signals)
    outside = fitted(signals.select(~MEMBER))
    # Among the reference non-members each column has mean 0 and variance 1, so the
    # mean of two has mean 0 and variance (1 + correlation) / 2.
    correlation = np.corrcoef(signals.target.matrix()[~MEMBER].T)[0, 1]
    assert outside.mean() == pytest.approx(0, abs=1e-6)
    assert outside.var(ddof=1) == pytest.approx((1 + correlation) / 2, rel=1e-5)
    assert fitted.about == "mean of 2 columns, each scaled by 60 reference non-members"


def test_a_noisy_column_no_longer_outweighs_the_others():
    fitted, evaluation = Mean().fit(record(0)), record(1)
    nobody = evaluation.select(np.zeros(120, bool))
    plain = auc(Mean().fit(nobody)(evaluation), MEMBER)
    assert auc(fitted(evaluation), MEMBER) > plain + 0.15


def test_the_unit_of_a_column_does_not_matter():
    reference, evaluation = record(0), record(1)

    def in_other_units(signals):
        return altered(signals, lambda v: v * np.float32([4, 0.5]) + np.float32([8, 1]))

    np.testing.assert_allclose(
        Mean().fit(in_other_units(reference))(in_other_units(evaluation)),
        Mean().fit(reference)(evaluation),
        atol=1e-4,
    )


def test_known_members_are_neither_needed_nor_used():
    signals = record()
    other = altered(signals, lambda v: np.where(MEMBER[:, None], 1e6, v))
    population = signals.select(~MEMBER)
    assert Mean().fit(signals) == Mean().fit(other) == Mean().fit(population)


def test_averages_the_named_columns_only():
    signals = record()
    nobody = signals.select(np.zeros(120, bool))
    np.testing.assert_allclose(
        Mean(("b",)).fit(nobody)(signals), signals.target.column("b"), rtol=1e-6
    )
    assert Mean(("b",)).fit(signals).columns == ("b",)
    with pytest.raises(UserError, match="no column 'c'"):
        Mean(("c",)).fit(signals)
    with pytest.raises(UserError, match="names no column"):
        Mean(())


def test_a_constant_column_is_left_out():
    signals = record()
    constant = np.full(120, 0.1, np.float32)
    signals = altered(signals, lambda v: np.column_stack([v, constant]))
    assert Mean().fit(signals).columns == ("a", "b")
    with pytest.raises(UserError, match="every column is constant"):
        Mean(("c",)).fit(signals)


def test_bad_reference_data_are_named():
    signals = record()
    with pytest.raises(UserError, match="hold 0 non-members"):
        Mean().fit(signals.select(MEMBER))
    place = np.arange(240).reshape(120, 2) == 201
    with pytest.raises(UserError, match="1 NaN or infinite"):
        Mean().fit(altered(signals, lambda v: np.where(place, np.inf, v)))
    with pytest.raises(UserError, match="no columns"):
        Mean().fit(Evidence(Readings.of(np.zeros((2, 0)), np.arange(2), ())))
