"""Laws that every registered rule obeys; a new rule joins by its registry line."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest

from score_mia.metrics.roc import auc
from score_mia.registry import make
from score_mia.rules import RULES
from score_mia.rules.protocol import Rule
from score_mia.signals import Signals

NAMES = ("t@1", "t@2", "t@3")
FIELDS = {"column": {"column": "t@2"}}
"""Fields without which a rule has nothing to do on three columns."""


def record(seed, n=80, shift=(0.2, 1.5, 0.5)):
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    values = rng.normal(size=(n, 3)) * (1, 10, 0.1)
    values += member[:, None] * np.array(shift) * (1, 10, 0.1) + (0, 500, 3)
    return Signals.of(values, member, rng.permutation(10 * n)[:n], NAMES)


@pytest.fixture(params=sorted(RULES))
def rule(request):
    spec = {"name": request.param, **FIELDS.get(request.param, {})}
    return make("rule", RULES, spec)


def test_is_a_frozen_value(rule):
    assert isinstance(rule, Rule)
    assert dataclasses.is_dataclass(rule)
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.anything = 1
    hash(rule.fit(record(0)))


def test_fit_leaves_the_rule_and_the_reference_alone(rule):
    reference = record(0)
    before, untouched = copy.deepcopy(rule), copy.deepcopy(reference)
    fitted = rule.fit(reference)
    assert isinstance(fitted, type(rule))
    assert rule == before
    assert reference == untouched
    assert fitted == rule.fit(reference)


def test_a_second_fit_forgets_the_first(rule):
    assert rule.fit(record(0)).fit(record(1)) == rule.fit(record(1))


def test_scores_are_finite_numbers_one_per_image(rule):
    evaluation = record(2)
    scores = rule.fit(record(0)).score(evaluation)
    assert scores.shape == (len(evaluation),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_never_reads_evaluation_labels(rule):
    fitted, evaluation = rule.fit(record(0)), record(2)
    for labels in (
        ~evaluation.member,
        np.zeros(len(evaluation), bool),
        np.ones(len(evaluation), bool),
    ):
        relabelled = dataclasses.replace(evaluation, member=labels)
        np.testing.assert_array_equal(
            fitted.score(evaluation), fitted.score(relabelled)
        )


def test_a_row_s_score_depends_on_that_row_only(rule):
    fitted, evaluation = rule.fit(record(0)), record(2)
    scores = fitted.score(evaluation)
    order = np.random.default_rng(3).permutation(len(evaluation))
    shuffled = dataclasses.replace(
        evaluation, values=evaluation.values[order], member=evaluation.member[order]
    )
    np.testing.assert_array_equal(fitted.score(shuffled), scores[order])
    some = np.arange(len(evaluation)) % 3 == 0
    np.testing.assert_array_equal(fitted.score(evaluation.select(some)), scores[some])


def test_the_order_of_the_reference_does_not_matter(rule):
    reference, evaluation = record(0), record(2)
    order = np.random.default_rng(3).permutation(len(reference))
    shuffled = dataclasses.replace(
        reference, values=reference.values[order], member=reference.member[order]
    )
    np.testing.assert_allclose(
        rule.fit(shuffled).score(evaluation),
        rule.fit(reference).score(evaluation),
        rtol=1e-12,
        atol=1e-12,
    )


def test_the_order_of_the_columns_does_not_matter(rule):
    reference, evaluation = record(0), record(2)

    def turned(signals):
        return dataclasses.replace(
            signals, values=signals.values[:, ::-1], names=signals.names[::-1]
        )

    np.testing.assert_allclose(
        rule.fit(turned(reference)).score(turned(evaluation)),
        rule.fit(reference).score(evaluation),
        rtol=1e-12,
        atol=1e-12,
    )


def test_higher_means_more_member_like(rule):
    evaluation = record(2, n=400)
    fitted = rule.fit(record(0))
    scores = fitted.score(evaluation)
    assert auc(scores, evaluation.member) > 0.75
    # Raising every signal of an image never lowers its membership score.
    raised = dataclasses.replace(evaluation, values=evaluation.values + 1)
    assert np.all(fitted.score(raised) > scores)


def test_tells_what_it_chose_in_one_line(rule):
    for text in (rule.chosen, rule.fit(record(0)).chosen):
        assert text
        assert "\n" not in text
