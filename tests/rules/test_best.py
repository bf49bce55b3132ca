from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.check import UserError
from score_mia.metrics.roc import auc, tpr_at_fpr
from score_mia.readings import Evidence, Readings
from score_mia.rules.best import Best


def record(columns, member):
    names = tuple(f"loss@{t}" for t in range(len(columns)))
    ids = np.arange(len(member))
    return Evidence(Readings.of(np.stack(columns, 1), ids, names, member))


MEMBER = np.arange(200) < 100


def noise(seed, shift=0.0):
    return np.random.default_rng(seed).normal(size=200) + shift * MEMBER


def test_chooses_the_column_that_scikit_learn_ranks_first():
    reference = record([noise(i, s) for i, s in enumerate((0.1, 0.9, 0.5))], MEMBER)
    fitted = Best().fit(reference)
    rows = reference.target
    values = [roc_auc_score(MEMBER, column) for column in rows.matrix().T]
    assert fitted.column == "loss@1" == rows.names[np.argmax(values)]
    assert fitted.about == "loss@1 (best of 3 by AUC on 200 reference images)"
    np.testing.assert_array_equal(fitted(reference), rows.matrix()[:, 1])


def test_never_takes_a_column_that_is_good_with_the_sign_turned():
    # AUC 0.1 is no better than 0.5: signals promise higher = more member-like.
    reference = record([noise(0, -2.0), noise(1, 0.3)], MEMBER)
    assert Best().fit(reference).column == "loss@1"


def test_by_tpr_may_choose_another_column():
    # One column is right a little about all members; the other very much about a few.
    few = noise(0) + 50 * (np.arange(200) < 20)
    reference = record([noise(1, 1.0), few], MEMBER)
    assert Best().fit(reference).column == "loss@0"
    fitted = Best(by="tpr", fpr=0.01).fit(reference)
    assert fitted.column == "loss@1"
    rates = [tpr_at_fpr(c, MEMBER, 0.01) for c in reference.target.matrix().T]
    assert np.argmax(rates) == 1
    assert "TPR at 0.01 FPR" in fitted.about


def test_of_equal_columns_the_first():
    reference = record([noise(0), noise(1, 1.0), noise(1, 1.0)], MEMBER)
    assert Best().fit(reference).column == "loss@1"


def test_choosing_on_reference_data_takes_the_optimism_out():
    # Fifty columns of noise: the best on the images themselves seems to attack, the
    # best on other images does not.
    honest, optimistic = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        one, other = (record(list(rng.normal(size=(50, 200))), MEMBER) for _ in "ab")
        honest.append(auc(Best().fit(one)(other), MEMBER))
        optimistic.append(auc(Best().fit(other)(other), MEMBER))
    assert np.mean(honest) == pytest.approx(0.5, abs=0.02)
    assert np.mean(optimistic) > 0.57


def test_needs_both_classes_and_enough_of_them():
    reference = record([noise(0), noise(1)], MEMBER)
    for labels, text in (
        (MEMBER | True, "200 members and 0"),
        (MEMBER & False, "0 me"),
    ):
        rows = dataclasses.replace(reference.target, member=labels)
        with pytest.raises(UserError, match=text):
            Best().fit(Evidence(rows))
    with pytest.raises(UserError, match=r"100 reference non-members.*fpr=0.001"):
        Best(by="tpr", fpr=0.001).fit(reference)
    empty = Readings.of(np.zeros((200, 0)), np.arange(200), (), MEMBER)
    with pytest.raises(UserError, match="no columns"):
        Best().fit(Evidence(empty))
    broken = noise(1)
    broken[3] = np.nan
    with pytest.raises(UserError, match=r"column 1 .*1 NaN"):
        Best().fit(record([noise(0), broken], MEMBER))


def test_fields_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="did you mean 'auc'"):
        Best(by="acu")
    with pytest.raises(UserError, match=r"fpr=2\.0"):
        Best(fpr=2.0)
