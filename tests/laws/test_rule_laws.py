"""Laws that every registered rule obeys; a new rule joins by its registry line."""

from __future__ import annotations

import copy
import dataclasses
from typing import get_args

import numpy as np
import pytest

from score_mia.heads import HEADS
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Piece, Readings
from score_mia.registry import make
from score_mia.rules import RULES as COLD
from score_mia.rules.protocol import Knowledge, Rule, Scorer

RULES = {**COLD, **HEADS}
NAMES = ("t@1", "t@2", "t@3")
FIELDS = {
    "column": {"column": "t@2"},
    "forest": {"trees": (10, 30)},
    "boosting": {"trees": 20, "least": 5},
    "perceptron": {"epochs": 200},
    "mlp": {"epochs": 60, "widths": (64, 32), "learning_rate": 1e-2},
    "tree": {"depths": (2, 4), "splits": (8,)},
}
"""Fields without which a rule has nothing to do on three columns, or much."""

MONOTONE = ("column", "best", "mean", "max")
"""Rules that weigh no column by a negative number."""


def record(seed, n=80, shift=(0.2, 1.5, 0.5)):
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    values = rng.normal(size=(n, 3)) * (1, 10, 0.1)
    values += member[:, None] * np.array(shift) * (1, 10, 0.1) + (0, 500, 3)
    ids = rng.permutation(10 * n)[:n]
    return Evidence(Readings.of(values, ids, NAMES, member))


def remade(evidence, values=None, member=None, names=None):
    """The same rows with other values, labels or names of columns."""
    rows = evidence.target
    return Evidence(
        Readings.of(
            rows.matrix() if values is None else values,
            rows.ids,
            rows.names if names is None else names,
            rows.member if member is None else member,
        )
    )


@pytest.fixture(params=sorted(RULES))
def rule(request):
    spec = {"name": request.param, **FIELDS.get(request.param, {})}
    return make("rule", RULES, spec)


def test_is_a_frozen_value(rule):
    assert isinstance(rule, Rule)
    assert rule.accepts <= frozenset(get_args(Knowledge))
    assert dataclasses.is_dataclass(rule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.anything = 1
    scorer = rule.fit(record(0))
    assert isinstance(scorer, Scorer)
    hash(scorer)


def test_fit_leaves_the_rule_and_the_reference_alone(rule):
    reference = record(0)
    before, untouched = copy.deepcopy(rule), reference.target.matrix().copy()
    scorer = rule.fit(reference)
    assert rule == before
    np.testing.assert_array_equal(reference.target.matrix(), untouched)
    assert scorer == rule.fit(reference)


def test_scores_are_finite_numbers_one_per_image(rule):
    evaluation = record(2)
    scores = rule.fit(record(0))(evaluation)
    assert scores.shape == (len(evaluation.target),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_reads_the_columns_that_it_names_and_no_label(rule):
    scorer, evaluation = rule.fit(record(0)), record(2)
    scores = scorer(evaluation)
    np.testing.assert_array_equal(scorer(evaluation.unlabelled()), scores)
    places = [name in scorer.columns for name in NAMES]
    rows = evaluation.target.matrix()
    only = remade(evaluation, values=np.where(places, rows, np.nan))
    np.testing.assert_array_equal(scorer(only), scores)


def test_a_row_s_score_depends_on_that_row_only(rule):
    scorer, evaluation = rule.fit(record(0)), record(2)
    scores = scorer(evaluation)
    some = np.arange(len(scores)) % 3 == 0
    np.testing.assert_array_equal(scorer(evaluation.select(some)), scores[some])


def test_scoring_streams(rule):
    """In pieces of any size the scores are the same to the bit."""
    scorer, evaluation = rule.fit(record(0)), record(2)
    rows = evaluation.target
    whole = rows.matrix()
    pieces = tuple(
        Piece(len(part), lambda places, part=part: part[:, places])
        for part in np.array_split(whole, [7, 8, 50])
    )
    cut = Evidence(dataclasses.replace(rows, pieces=pieces))
    np.testing.assert_array_equal(scorer(cut), scorer(evaluation))


def test_the_order_of_the_columns_does_not_matter(rule):
    reference, evaluation = record(0), record(2)

    def turned(evidence):
        rows = evidence.target
        return remade(evidence, rows.matrix()[:, ::-1], names=rows.names[::-1])

    np.testing.assert_allclose(
        rule.fit(turned(reference))(turned(evaluation)),
        rule.fit(reference)(evaluation),
        rtol=1e-12,
        atol=1e-12,
    )


def test_higher_means_more_member_like(rule):
    evaluation = record(2, n=400)
    scorer = rule.fit(record(0))
    scores = scorer(evaluation)
    assert auc(scores, evaluation.target.member) > 0.65
    raised = scorer(remade(evaluation, evaluation.target.matrix() + 1))
    if isinstance(rule, tuple(RULES[name] for name in MONOTONE)):
        # Raising every signal of an image never lowers its membership score.
        assert np.all(raised > scores)


def test_what_learns_of_both_classes_turns_with_them(rule):
    """Fitted on swapped labels it says the opposite; the house's other rules cannot."""
    if rule.accepts != frozenset(("split", "shadows")):
        assert isinstance(rule, tuple(RULES[n] for n in ("column", "best", "mean")))
        return
    reference, evaluation = record(0), record(2, n=400)
    swapped = remade(reference, member=~reference.target.member)
    scores = rule.fit(swapped)(evaluation)
    assert auc(scores, evaluation.target.member) < 0.35


def test_a_shadow_model_s_rows_teach_what_the_target_s_would(rule):
    if "shadows" not in rule.accepts:
        return
    reference, evaluation = record(0), record(2)
    nobody = reference.target.select(np.zeros(len(reference.target), bool))
    shadowed = Evidence(nobody, (reference.target,))
    scores = rule.fit(shadowed)(evaluation)
    np.testing.assert_array_equal(scores, rule.fit(reference)(evaluation))
    assert rule.fit(shadowed).fitted_on == rule.fit(reference).fitted_on


def test_tells_what_it_chose_in_one_line(rule):
    text = rule.fit(record(0)).about
    assert text
    assert "\n" not in text
