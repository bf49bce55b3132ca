"""The verdict: five cases, decided on intervals, in words that hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from score_mia.metrics.intervals import evaluate
from score_mia.report.verdict import verdict
from score_mia.results import (
    AttackResult,
    AuditResult,
    Blind,
    Controls,
    Estimate,
    SplitCounts,
)

number = Estimate
LOST = Estimate(None, 0.0, 1.0, resolvable=False)


def entry(auc, one=LOST, ten=LOST, access="scores", mirrored=()):
    tpr = {0.1: ten, 0.01: one, 0.001: LOST}
    return AttackResult(access, auc=auc, tpr_at_fpr=tpr, mirrored=dict(mirrored))


def metrics(members=100, nonmembers=500, **attacks):
    """The result of these attacks, all of them judged on as many images."""
    sizes = {"members": members, "nonmembers": nonmembers}
    attacks = {n: dataclasses.replace(a, **sizes) for n, a in attacks.items()}
    return AuditResult(split=SplitCounts(members, nonmembers), attacks=attacks)


def said(found):
    dash = "\N{EN DASH}"
    text = f"{found.finding} {found.meaning}"
    return text.replace("\xa0", " ").replace(dash, "-")


STRONG = entry(number(0.98, 0.96, 0.99), one=number(0.93, 0.86, 0.978))
PARTIAL = entry(
    number(0.64, 0.58, 0.7), one=number(0.04, 0.01, 0.09), access="gradients"
)
CHANCE = entry(number(0.51, 0.45, 0.57), one=number(0.01, 0.0, 0.05))
WIDE = entry(number(0.6, 0.38, 0.8), ten=number(0.2, 0.0, 0.5))


def test_strong():
    found = verdict(metrics(loss=STRONG))
    assert (found.kind, found.word, found.attack) == ("strong", "Yes", "loss")
    assert "who can query the network recognises 93.0 %" in said(found)
    assert "(95 % interval 86.0-97.8 %, n = 100)" in said(found)
    assert "at most 1 % of the images the model never saw (n = 500)" in said(found)
    assert "differential privacy" in found.meaning
    assert found.quoted == (0.93, 0.86, 0.978, 0.01)


def test_strong_at_ten_per_cent_where_one_is_not_resolvable():
    few = entry(number(0.99, 0.9, 1.0), ten=number(0.95, 0.8, 1.0))
    found = verdict(metrics(40, 60, loss=few))
    assert found.kind == "strong"
    assert "at most 10 %" in said(found)


def test_strong_at_ten_per_cent_where_one_is_known_but_too_wide():
    both = entry(
        number(0.99, 0.89, 1.0), one=number(1.0, 0.0, 1.0), ten=number(1.0, 0.89, 1.0)
    )
    found = verdict(metrics(32, 200, loss=both))
    assert found.kind == "strong"
    assert found.quoted == (1.0, 0.89, 1.0, 0.1)


def test_partial():
    found = verdict(metrics(loss=PARTIAL))
    assert (found.kind, found.word) == ("partial", "Partly")
    assert "64.0 % of the time (95 % interval 58.0-70.0 %" in said(found)
    assert "recognises 4.0 % of the training images (95 % interval 1.0-9.0 %" in (
        said(found)
    )
    assert "who holds the model's parameters" in said(found)


def beside(p_value, **attacks):
    """The result of attacks beside a blind classifier of this p-value."""
    blind = Blind(number(0.7, 0.65, 0.75), 100, 500, p_value)
    return dataclasses.replace(metrics(**attacks), controls=Controls(blind=blind))


def over(attack, low, high):
    """The attack with this margin over the blind classifier."""
    margin = number((low + high) / 2, low, high)
    return dataclasses.replace(attack, margin=margin)


@pytest.mark.parametrize("attack", [STRONG, PARTIAL], ids=["strong", "partial"])
def test_what_looks_alone_explain_is_not_held_against_the_model(attack):
    kind = verdict(metrics(loss=attack)).kind
    found = verdict(beside(0.001, loss=over(attack, -0.05, 0.06)))
    assert (found.kind, found.word, found.quoted) == ("looks", "Cannot tell", None)
    assert "is not shown" in said(found)
    assert "cannot say whether" in said(found)
    # Not if the attack exceeds looks, nor if looks do not tell the groups apart.
    assert verdict(beside(0.001, loss=over(attack, 0.01, 0.2))).kind == kind
    assert verdict(beside(0.2, loss=over(attack, -0.05, 0.06))).kind == kind
    # One attack that exceeds looks is enough, and is the one that is quoted.
    both = {"a": over(STRONG, -0.05, 0.06), "b": over(attack, 0.03, 0.2)}
    found = verdict(beside(0.001, **both))
    assert (found.kind, found.attack) == (kind, "b")


def test_many_looks_widen_what_an_attack_finds_beyond_looks():
    """Of twenty attacks one is ahead of looks by luck more often than one alone."""
    edge = over(STRONG, 0.01, 0.2)
    assert verdict(beside(0.001, loss=edge)).kind == "strong"
    others = {f"a{i}": over(CHANCE, -0.1, 0.05) for i in range(19)}
    found = verdict(beside(0.001, loss=edge, **others))
    assert found.kind == "looks"
    assert "is not shown" in said(found)


def test_a_wrong_sign_is_none_of_looks():
    turned = entry(number(0.02, 0.01, 0.04), mirrored={0.01: number(0.9, 0.8, 0.95)})
    found = verdict(beside(0.001, loss=over(turned, -0.7, -0.6)))
    assert found.kind == "strong"
    assert "wrong sign" in found.meaning


def test_part_of_a_leak_that_may_be_chance_of_the_images_says_so():
    found = verdict(beside(0.2, loss=over(PARTIAL, -0.05, 0.06)))
    assert "Either membership leaks a little" in found.meaning
    found = verdict(beside(0.2, loss=over(PARTIAL, 0.01, 0.2)))
    assert found.meaning.startswith("Membership leaks")


def test_chance():
    found = verdict(metrics(loss=CHANCE, likelihood=CHANCE))
    assert (found.kind, found.word) == ("chance", "Not found")
    assert "None of the 2 attacks" in said(found)
    assert "51.0 % of the time (95 % interval 45.0-57.0 %" in said(found)
    assert "not proof" in found.meaning


def test_not_enough_data():
    found = verdict(metrics(12, 24, loss=WIDE))
    assert (found.kind, found.word) == ("unclear", "Not enough data")
    assert "12 training and 24 other images" in said(found)
    assert "0.600, 95 % interval 0.380-0.800" in said(found)
    assert found.quoted is None


def test_so_few_images_claim_nothing_even_if_separated():
    assert verdict(metrics(9, 500, loss=STRONG)).kind == "unclear"
    assert verdict(metrics(10, 500, loss=STRONG)).kind == "strong"


def test_an_attack_that_is_judged_by_what_it_learned_of_is_not_quoted():
    known = dataclasses.replace(STRONG, known_members=10)
    found = verdict(metrics(known=known, fair=CHANCE))
    assert found.kind == "chance"
    assert verdict(metrics(known=known)).kind == "unclear"


def test_no_attack_at_all():
    assert verdict(metrics()).kind == "unclear"
    assert verdict(metrics(loss=entry(LOST))).kind == "unclear"


def test_quotes_the_attack_that_carries_the_case():
    # Large only because it is quoted at 10 %: the strong case rests on the other.
    loose = entry(number(0.8, 0.7, 0.9), ten=number(0.6, 0.45, 0.75))
    tight = entry(number(0.7, 0.6, 0.8), one=number(0.2, 0.12, 0.3))
    found = verdict(metrics(a=loose, b=tight), titles={"a": "A", "b": "B"})
    assert (found.kind, found.attack) == ("strong", "b")


def test_many_looks_widen_what_chance_can_do():
    # 0.505 of one attack excludes 0.5; as the best of twenty it does not.
    edge = entry(number(0.56, 0.505, 0.61), one=number(0.02, 0.0, 0.06))
    assert verdict(metrics(loss=edge)).kind == "partial"
    others = {f"a{i}": CHANCE for i in range(19)}
    assert verdict(metrics(loss=edge, **others)).kind == "chance"


@pytest.mark.parametrize(
    ("shift", "n", "kind"),
    [
        (3.0, (100, 500), "strong"),
        (0.6, (100, 500), "partial"),
        (0.0, (200, 500), "chance"),
        (0.0, (8, 12), "unclear"),
    ],
)
def test_on_real_metrics(shift, n, kind):
    rng = np.random.default_rng(5)
    member = np.arange(sum(n)) < n[0]
    scores = rng.normal(size=len(member)) + shift * member
    found = evaluate(scores, member, replicates=200)
    assert verdict(metrics(*n, loss=found)).kind == kind
