"""Cross-fitted AUC: equal to the slow way of computing it, and as exact as promised."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from score_mia.check import UserError
from score_mia.metrics.crossfit import cross_fitted


def groups(n1, n0, seed, shift=0.0, columns=20):
    rng = np.random.default_rng(seed)
    member = np.arange(n1 + n0) < n1
    return rng.normal(size=(n1 + n0, columns)) + shift * member[:, None], member


def test_equals_scikit_learn_fold_by_fold():
    features, member = groups(40, 70, 0, shift=0.2)
    found = cross_fitted(features * 3 + 5, member, permutations=99)
    values = (features - features.mean(0)) / features.std(0)
    wins = pairs = 0.0
    for j in range(5):
        rows = found.fold == j
        model = Ridge(alpha=40.0).fit(values[~rows], member[~rows])
        scores = model.predict(values[rows])
        offset = scores - found.scores[rows]  # an intercept, which changes no rank
        np.testing.assert_allclose(offset, offset[0], atol=1e-9)
        weight = member[rows].sum() * (~member[rows]).sum()
        wins += weight * roc_auc_score(member[rows], scores)
        pairs += weight
    assert found.auc.value == pytest.approx(wins / pairs)


def test_the_null_is_that_of_the_whole_procedure_redone():
    # Relabelled beforehand and run from scratch, the AUC has the permutations' law.
    features, member = groups(40, 60, 1)
    null = cross_fitted(features, member, permutations=999).null
    rng = np.random.default_rng(2)
    again = np.array(
        [
            cross_fitted(
                features, rng.permutation(member), permutations=99, seed=s
            ).auc.value
            for s in range(150)
        ]
    )
    assert null.mean() == pytest.approx(0.5, abs=4 * null.std() / 999**0.5)
    assert again.mean() == pytest.approx(0.5, abs=4 * null.std() / 150**0.5)
    assert again.std() == pytest.approx(null.std(), rel=0.2)


def test_swapping_the_groups_changes_nothing():
    features, member = groups(30, 30, 3, shift=0.3)
    one = cross_fitted(features, member, permutations=99)
    other = cross_fitted(features, ~member, permutations=99)
    assert one.auc.value > 0.6
    assert other.auc.value > 0.6


def test_a_perfect_classifier_is_not_certain():
    features, member = groups(100, 300, 4, shift=3.0)
    found = cross_fitted(features, member, permutations=199)
    assert found.auc.value == 1.0
    assert found.auc.low == pytest.approx(0.025 ** (1 / 100))
    assert found.p_value == 1 / 200


def test_columns_that_say_nothing_say_nothing():
    _, member = groups(10, 10, 5)
    found = cross_fitted(np.ones((20, 3)), member, permutations=99)
    assert (found.auc.value, found.p_value) == (0.5, 1.0)
    features, member = groups(20, 20, 6)
    constant = np.concatenate([features, np.full((40, 1), 7.0)], axis=1)
    np.testing.assert_allclose(
        cross_fitted(constant, member, permutations=99).scores,
        cross_fitted(features, member, permutations=99).scores,
    )


def test_how_memory_cuts_the_permutations_keeps_their_law(monkeypatch):
    features, member = groups(20, 20, 7)
    whole = cross_fitted(features, member, permutations=400)
    monkeypatch.setattr("score_mia.metrics.crossfit._CELLS", 1000)
    cut = cross_fitted(features, member, permutations=400)
    assert cut.auc.value == whole.auc.value
    assert cut.null.std() == pytest.approx(whole.null.std(), rel=0.15)


def test_mistakes_are_named():
    features, member = groups(20, 20, 8)
    with pytest.raises(UserError, match="a group has 1 rows"):
        cross_fitted(features[19:], member[19:])
    with pytest.raises(UserError, match="permutations=5"):
        cross_fitted(features, member, permutations=5)
    features[3, 2] = np.nan
    with pytest.raises(UserError, match="features"):
        cross_fitted(features, member)
