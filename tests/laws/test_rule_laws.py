"""Laws that every registered rule obeys; a new rule joins by its registry line."""

from __future__ import annotations

import copy
import dataclasses
from typing import get_args

import numpy as np
import pytest

from score_mia.check import UserError
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
    "rmia": {"column": "t@2"},
    "reference_ratio": {"column": "t@2"},
    "quantile": {"column": "t@2", "bag": 3, "trees": 10},
    "forest": {"trees": (10, 30)},
    "boosting": {"trees": 20, "least": 5},
    "perceptron": {"epochs": 200},
    "mlp": {"epochs": 60, "widths": (64, 32), "learning_rate": 1e-2},
    "convnet": {
        "shape": (1, 1, 3),
        "widths": (16,),
        "epochs": 40,
        "batch": 20,
        "learning_rate": 2e-2,
    },
    "tree": {"depths": (2, 4), "splits": (8,)},
}
"""Fields without which a rule has nothing to do on three columns, or much."""

MONOTONE = ("column", "best", "mean", "max", "rmia", "reference_ratio")
"""Rules that weigh no column by a negative number."""

BESIDE = ("lira", "rmia", "reference_ratio")
"""Rules that set each image beside itself, off shadow models."""

SCALE = np.array((1, 10, 0.1))


def record(seed, n=80, shift=(0.2, 1.5, 0.5)):
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    values = rng.normal(size=(n, 3)) * SCALE
    values += member[:, None] * np.array(shift) * SCALE + (0, 500, 3)
    ids = rng.permutation(10 * n)[:n]
    return Evidence(Readings.of(values, ids, NAMES, member))


def beside(evidence, seed=5, count=6, shift=(0.2, 1.5, 0.5)):
    """The same images off shadow models, each of which had half of them."""
    rng, rows = np.random.default_rng(seed), evidence.target
    level = rows.matrix() - rows.member[:, None] * np.array(shift) * SCALE
    turns = np.argsort(rng.random((count, len(rows))), axis=0) < count // 2
    shadows = []
    for member in turns:
        noise = 0.5 * rng.normal(size=level.shape) + member[:, None] * np.array(shift)
        made = Readings.of(level + noise * SCALE, rows.ids, NAMES, member)
        shadows.append(made)
    return tuple(shadows)


def knows_shadows_only(rule):
    return rule.accepts == frozenset(("shadows",))


def known_to(rule, n=80):
    """What a rule is fitted on, before it is asked about so many images."""
    if not knows_shadows_only(rule):
        return record(0)
    rows = record(2, n)
    nobody = record(0).target.select(np.zeros(80, bool))
    return Evidence(nobody, beside(rows))


def asked_of(rule, n=80):
    """What it is asked about."""
    rows = record(2, n)
    return rows._replace(others=beside(rows)) if knows_shadows_only(rule) else rows


def remade(evidence, values=None, member=None, names=None):
    """The same rows with other values, labels or names of columns."""
    rows = evidence.target
    made = Readings.of(
        rows.matrix() if values is None else values,
        rows.ids,
        rows.names if names is None else names,
        rows.member if member is None else member,
    )
    return evidence._replace(target=made)


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
    scorer = rule.fit(known_to(rule))
    assert isinstance(scorer, Scorer)
    hash(scorer)


def test_fit_leaves_the_rule_and_the_reference_alone(rule):
    reference = known_to(rule)
    before, untouched = copy.deepcopy(rule), reference.target.matrix().copy()
    scorer = rule.fit(reference)
    assert rule == before
    np.testing.assert_array_equal(reference.target.matrix(), untouched)
    assert scorer == rule.fit(reference)


def test_scores_are_finite_numbers_one_per_image(rule):
    evaluation = asked_of(rule)
    scores = rule.fit(known_to(rule))(evaluation)
    assert scores.shape == (len(evaluation.target),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()


def test_reads_the_columns_that_it_names_and_no_label(rule):
    scorer, evaluation = rule.fit(known_to(rule)), asked_of(rule)
    scores = scorer(evaluation)
    np.testing.assert_array_equal(scorer(evaluation.unlabelled()), scores)
    places = [name in scorer.columns for name in NAMES]
    rows = evaluation.target.matrix()
    only = remade(evaluation, values=np.where(places, rows, np.nan))
    np.testing.assert_array_equal(scorer(only), scores)


def test_a_row_s_score_depends_on_that_row_only(rule):
    scorer, evaluation = rule.fit(known_to(rule)), asked_of(rule)
    scores = scorer(evaluation)
    some = np.arange(len(scores)) % 3 == 0
    np.testing.assert_array_equal(scorer(evaluation.select(some)), scores[some])


def test_scoring_streams(rule):
    """In pieces of any size the scores are the same to the bit."""
    scorer, evaluation = rule.fit(known_to(rule)), asked_of(rule)
    rows = evaluation.target
    whole = rows.matrix()
    pieces = tuple(
        Piece(len(part), lambda places, part=part: part[:, places])
        for part in np.array_split(whole, [7, 8, 50])
    )
    cut = Evidence(dataclasses.replace(rows, pieces=pieces))
    np.testing.assert_array_equal(scorer(cut), scorer(evaluation))


def test_the_order_of_the_columns_does_not_matter(rule):
    reference, evaluation = known_to(rule), asked_of(rule)

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
    evaluation = asked_of(rule, n=400)
    scorer = rule.fit(known_to(rule, n=400))
    scores = scorer(evaluation)
    assert auc(scores, evaluation.target.member) > 0.65
    raised = scorer(remade(evaluation, evaluation.target.matrix() + 1))
    if isinstance(rule, tuple(RULES[name] for name in MONOTONE)):
        # Raising every signal of an image never lowers its membership score.
        assert np.all(raised > scores)


def test_what_learns_of_both_classes_turns_with_them(rule):
    """Fitted on swapped labels it says the opposite; the house's other rules cannot."""
    if rule.accepts != frozenset(("split", "shadows")):
        one_sided = ("column", "best", "mean", "quantile", *BESIDE)
        assert isinstance(rule, tuple(RULES[name] for name in one_sided))
        return
    reference, evaluation = record(0), record(2, n=400)
    swapped = remade(reference, member=~reference.target.member)
    scores = rule.fit(swapped)(evaluation)
    assert auc(scores, evaluation.target.member) < 0.35


def test_a_shadow_model_s_rows_teach_what_the_target_s_would(rule):
    if not {"split", "shadows"} <= rule.accepts:
        return
    reference, evaluation = record(0), record(2)
    nobody = reference.target.select(np.zeros(len(reference.target), bool))
    shadowed = Evidence(nobody, (reference.target,))
    scores = rule.fit(shadowed)(evaluation)
    np.testing.assert_array_equal(scores, rule.fit(reference)(evaluation))
    assert rule.fit(shadowed).fitted_on == rule.fit(reference).fitted_on


def test_what_knows_shadows_alone_asks_them_about_every_image(rule):
    """It sees no label of the target, and refuses an image that no shadow was asked."""
    if not knows_shadows_only(rule):
        assert not isinstance(rule, tuple(RULES[name] for name in BESIDE))
        return
    known, evaluation = known_to(rule), asked_of(rule)
    scorer = rule.fit(known)
    assert len(known.target) == 0
    assert scorer.fitted_on == 6 * 80
    with pytest.raises(UserError, match=r"of 80 images.*shadows.asked='all'"):
        scorer(record(3))
    fewer = known.others[0].select(np.arange(80) > 0)
    for others, said in (
        ((), "no shadow model"),
        ((fewer, *known.others[1:]), "not every shadow"),
        (known.others[:1], "few|variance|is in some shadows|every shadow"),
    ):
        with pytest.raises(UserError, match=said):
            rule.fit(known._replace(others=others))(evaluation)


def test_tells_what_it_chose_in_one_line(rule):
    text = rule.fit(known_to(rule)).about
    assert text
    assert "\n" not in text
