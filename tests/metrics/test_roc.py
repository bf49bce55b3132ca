"""The ROC against scikit-learn and brute force, with ties, and members positive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from score_mia.check import UserError
from score_mia.metrics import roc


@st.composite
def scored(draw):
    """Scores full of ties, both classes present."""
    n = draw(st.integers(2, 40))
    levels = draw(st.integers(1, 8))
    scores = draw(st.lists(st.integers(-levels, levels), min_size=n, max_size=n))
    member = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    member[0], member[1] = True, False
    return np.array(scores) / 3.0, np.array(member)


def brute_force_tpr(scores, member, fpr):
    """The best TPR of all rules "at or above" whose FPR keeps the limit."""
    inside, outside = scores[member], scores[~member]
    best = 0.0
    for threshold in scores:
        if np.sum(outside >= threshold) <= fpr * len(outside) + 1e-9:
            best = max(best, float(np.mean(inside >= threshold)))
    return best


@given(scored())
def test_roc_and_auc_equal_scikit_learn_with_ties(case):
    scores, member = case
    found = roc.roc(scores, member)
    fpr, tpr, thresholds = roc_curve(member, scores, drop_intermediate=False)
    np.testing.assert_allclose(found.fpr, fpr, atol=1e-15)
    np.testing.assert_allclose(found.tpr, tpr, atol=1e-15)
    np.testing.assert_array_equal(found.thresholds, thresholds)
    assert roc.auc(scores, member) == pytest.approx(roc_auc_score(member, scores))
    accuracy = np.max(tpr + 1 - fpr) / 2
    assert roc.balanced_accuracy(scores, member) == pytest.approx(accuracy)


@given(scored(), st.sampled_from([0.0, 0.05, 0.1, 0.25, 0.5, 0.9, 1.0]))
def test_tpr_is_the_largest_that_keeps_the_limit(case, fpr):
    scores, member = case
    found = roc.tpr_at_fpr(scores, member, fpr)
    assert found == pytest.approx(brute_force_tpr(scores, member, fpr))


@given(scored())
def test_swapped_classes_give_the_mirrored_auc(case):
    scores, member = case
    swapped = roc.auc(scores, ~member)
    assert roc.auc(scores, member) == pytest.approx(1 - swapped)


def test_members_are_the_positive_class():
    # Half of the members lie above everything; half of the non-members lie below
    # everything. With the classes inverted TPR and TNR would trade places.
    scores = np.array([9.0, 8.0, 1.0, 2.0, 1.5, 1.6, 1.7, 1.8, 1.9, 2.1, 0.1, 0.2])
    member = np.array([True] * 4 + [False] * 8)
    assert roc.tpr_at_fpr(scores, member, 0.0) == 0.5
    assert roc.auc(scores, member) > 0.5


def test_a_tie_never_breaks_the_limit():
    # Eleven of a hundred non-members share the top score with all the members: any
    # threshold that admits one admits all, at 11 % instead of 10.
    outside = np.concatenate([np.full(11, 5.0), np.linspace(0, 1, 89)])
    scores = np.concatenate([np.full(50, 5.0), outside])
    member = np.arange(150) < 50
    assert roc.tpr_at_fpr(scores, member, 0.1) == 0.0
    assert roc.tpr_at_fpr(scores, member, 0.11) == 1.0


def test_a_rate_means_its_decimal_digits():
    # 0.29 * 100 and 0.57 * 100 fall short of 29 and 57 in floating point.
    assert [roc.allowed(f, 100) for f in (0.29, 0.57, 0.07)] == [29, 57, 7]
    assert [roc.allowed(f, 1000) for f in roc.FPRS] == [100, 10, 1, 0]
    assert roc.resolvable(0.001, 1000)
    assert not roc.resolvable(0.001, 999)


def test_optimism_of_the_balanced_accuracy_is_as_documented():
    rng = np.random.default_rng(0)
    member = np.arange(800) < 400
    found = [roc.balanced_accuracy(rng.normal(size=800), member) for _ in range(400)]
    assert np.mean(found) == pytest.approx(0.5 + 0.44 / np.sqrt(400), abs=0.002)


@given(scored())
def test_column_curves_equal_the_single_metrics(case):
    scores, member = case
    values = np.stack([scores, -scores, np.roll(scores, 1)], 1)
    curves = roc.column_curves(values, member, (1.0, 0.5, 0.1))
    nonmembers = int(np.sum(~member))
    for k, column in enumerate(values.T):
        assert curves["auc"][k] == roc.auc(column, member)
        for fpr in (1.0, 0.5, 0.1):
            found = curves[f"tpr@{fpr:g}"][k]
            if roc.resolvable(fpr, nonmembers):
                assert found == roc.tpr_at_fpr(column, member, fpr)
            else:
                assert np.isnan(found)


def test_threshold_from_reference_keeps_the_expected_rate():
    # Exchangeable non-members: over many references the mean FPR is j / (n + 1), with
    # 5 / 100 here, while the (floor(0.05 * 99) + 1)-th largest would also give 5 / 100
    # and the plain empirical quantile of 60 images, 4 / 61, breaks a limit of 5 %.
    rng = np.random.default_rng(1)
    for n, expected in ((99, 0.05), (60, 3 / 61)):
        rates = []
        for _ in range(3000):
            threshold = roc.threshold_at(rng.random(n), 0.05)
            rates.append(1 - threshold)  # of new uniform scores
        assert np.mean(rates) == pytest.approx(expected, abs=0.0015)


def test_threshold_needs_enough_reference_images():
    with pytest.raises(UserError, match=r"18 reference non-members.*0\.053"):
        roc.threshold_at(np.arange(18.0), 0.05)
    assert roc.threshold_at(np.arange(19.0), 0.05) == 18.0


def test_bad_scores_are_counted_and_empty_classes_named():
    member = np.array([True, False, True, False])
    bad = np.array([1.0, np.nan, np.inf, 0.0])
    for metric in (roc.roc, roc.auc, roc.balanced_accuracy):
        with pytest.raises(UserError, match="2 NaN or infinite"):
            metric(bad, member)
    for metric in (roc.roc, roc.auc, roc.balanced_accuracy):
        with pytest.raises(UserError, match="no members"):
            metric(np.arange(4.0), np.zeros(4, bool))
        with pytest.raises(UserError, match="no non-members"):
            metric(np.arange(4.0), np.ones(4, bool))
    values = np.stack([np.arange(4.0), bad], 1)
    with pytest.raises(UserError, match=r"column 1.*2 NaN"):
        roc.column_curves(values, member)
    with pytest.raises(UserError, match=r"fpr=1.5"):
        roc.tpr_at_fpr(np.arange(4.0), member, 1.5)
