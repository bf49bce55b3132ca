"""Ranks of attacks on the same images, and how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.metrics.ranks import joined, ranks, resampled
from score_mia.metrics.roc import auc, tpr_at_fpr

MEMBER = np.arange(300) < 100


def scores(*shifts, seed=0):
    """Attacks by how far they move members, in standard deviations."""
    rng = np.random.default_rng(seed)
    shifted = np.array(shifts)[:, None] * MEMBER
    return rng.normal(size=(len(shifts), len(MEMBER))) + shifted


def summary(values, **how):
    return ranks(resampled(values, MEMBER, replicates=500, **how).auc).summary()


def test_a_clear_winner_is_first_and_a_clear_loser_last():
    first, *between, last = summary(scores(4.0, 1.0, 1.0, 0.9, -1.0))
    assert first == (1, 1, 1)
    assert last == (5, 5, 5)
    assert all(low >= 2 and high <= 4 for _, low, high in between)


def test_the_same_scores_share_their_places():
    one = scores(1.0)[0]
    assert summary(np.stack([one, one, one])) == [(2, 1, 3)] * 3
    made = summary(np.stack([one, 3.0 * one + 7.0, scores(5.0, seed=1)[0]]))
    assert made == [(2.5, 2, 3), (2.5, 2, 3), (1, 1, 1)]


def test_equally_strong_attacks_may_each_be_the_better_one():
    for middle, low, high in summary(scores(1.0, 1.0)):
        assert (low, high) == (1, 2)
        assert 1 <= middle <= 2


def test_the_order_of_attacks_changes_nothing_but_the_order():
    values = scores(1.0, 0.8, 0.6, 0.0)
    order = [2, 0, 3, 1]
    again = summary(values[order])
    assert again == [summary(values)[i] for i in order]


def test_resamples_are_around_the_numbers_of_the_images():
    values = np.round(scores(1.0, 0.0), 1)  # with ties
    drawn = resampled(values, MEMBER, (0.1, 0.01), replicates=800)
    for row, aucs, tprs in zip(values, drawn.auc, drawn.tpr, strict=True):
        assert abs(aucs.mean() - auc(row, MEMBER)) < 0.01
        assert abs(tprs[:, 0].mean() - tpr_at_fpr(row, MEMBER, 0.1)) < 0.06
    assert drawn.auc.shape == (2, 800)
    assert drawn.tpr.shape == (2, 800, 2)


def test_each_resample_is_counted_as_images_written_out_are():
    values = np.round(scores(1.0), 1)
    drawn = resampled(values, MEMBER, (0.05,), replicates=3, seed=5)
    groups = [np.flatnonzero(MEMBER), np.flatnonzero(~MEMBER)]
    picks = [
        group[np.random.default_rng([5, i]).integers(0, len(group), (3, len(group)))]
        for i, group in enumerate(groups)
    ]
    for b in range(3):
        rows = np.concatenate([p[b] for p in picks])
        row, member = values[0, rows], MEMBER[rows]
        assert drawn.auc[0, b] == pytest.approx(auc(row, member), abs=1e-12)
        assert drawn.tpr[0, b, 0] == tpr_at_fpr(row, member, 0.05)


def test_targets_that_disagree_are_seen_in_the_interval():
    one, other = scores(4.0, 0.0), scores(0.0, 4.0)
    made = [ranks(resampled(v, MEMBER, replicates=200).auc) for v in (one, other)]
    assert joined(made).summary() == [(1.5, 1, 2)] * 2


def test_what_is_no_number_is_refused():
    values = scores(1.0)
    values[0, 3] = np.nan
    with pytest.raises(UserError, match="finite"):
        resampled(values, MEMBER, replicates=2)
