"""`--fail_if`: what a condition may say, what it is judged on, how it is refused."""

from __future__ import annotations

import pytest

from score_mia.check import UserError
from score_mia.cli import gate
from score_mia.metrics.copies import Copies, Copying, Group
from score_mia.results import AttackResult, AuditResult, EpsilonBound, Estimate


def attack(low, value, high, **fields):
    estimate = Estimate(value, low, high)
    return AttackResult(
        members=50,
        nonmembers=200,
        auc=estimate,
        balanced_accuracy=estimate,
        tpr_at_fpr={0.1: estimate, 0.01: estimate, 0.001: Estimate(None, 0, 1, False)},
        tpr_at_zero_fp=estimate,
        **fields,
    )


RESULT = AuditResult(
    attacks={
        "best": attack(
            0.6, 0.7, 0.8, epsilon_lower_bound=EpsilonBound(2.0, 3, 0, 0.95)
        ),
        "v1.2": attack(0.3, 0.5, 0.7),
        "lost": AttackResult(failed="no device"),
    }
)
TWO = ("best", "v1.2")


def broken(*texts, result=RESULT, names=TWO):
    kept = AuditResult(attacks={n: result.attacks[n] for n in names})
    return gate.broken([gate.parse(text, names) for text in texts], kept)


@pytest.mark.parametrize(
    ("text", "attacks"),
    [
        # judged by what the interval makes certain
        ("tpr@0.01>0.5", ["best"]),
        ("tpr@0.01>0.6", []),
        ("tpr@0.01>=0.6", ["best"]),
        ("tpr@0.01<0.75", ["v1.2"]),
        ("tpr@0.01<=0.8", ["best", "v1.2"]),
        # or by what is named
        ("tpr@0.01.low>0.2", ["best", "v1.2"]),
        ("tpr@0.01.high>0.75", ["best"]),
        ("tpr@1e-2.value > 0.5", ["best"]),
        ("tpr@0.1.low>.5", ["best"]),
        ("tpr@0>0.5", ["best"]),
        # of one attack, whatever its name
        ("v1.2:tpr@0.01>0.2", ["v1.2"]),
        ("best : auc.value >= 7e-1", ["best"]),
        ("balanced_accuracy>0.5", ["best"]),
        ("best:epsilon>1.9", ["best"]),
        ("best:epsilon>2", []),
    ],
)
def test_conditions(text, attacks):
    lines = broken(text)
    assert len(lines) == len(attacks)
    for line, name in zip(lines, attacks, strict=True):
        assert line.startswith(f"--fail_if={text}: attack {name!r} has ")
        assert ";" in line


FOUND = Copies(
    samples=200,
    setting=Copying(),
    level=0.95,
    members=Group(60, 50, 20, 9, Estimate(0.1, 0.06, 0.15), 0.0, 0.2),
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("copies>0.05", True),
        ("copies>0.07", False),
        ("copies.high>0.12", True),
        ("copies<0.2", True),
        ("copies.value>=0.1", True),
    ],
)
def test_copies_are_of_no_attack(text, holds):
    lines = gate.broken([gate.parse(text, TWO)], RESULT, FOUND)
    assert len(lines) == holds
    assert all(f"--fail_if={text}: the audit has copies." in line for line in lines)


def test_without_samples_copies_cannot_be_judged():
    with pytest.raises(UserError, match="has drawn no samples; ask for some"):
        broken("copies>0.1")
    with pytest.raises(UserError, match="copies are of no attack; write copies"):
        gate.parse("best:copies>0.1", TWO)


def test_every_condition_has_its_line():
    assert len(broken("auc>0.5", "auc>0.2", "tpr@0>0.9")) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tpr@0.01", "is no condition; write"),
        ("tpr@0.01>0.1>0.2", "is no condition"),
        ("", "is no condition"),
        ("bets:auc>0.5", "attack='bets': is unknown; did you mean 'best'"),
        ("tprr@0.01>0.5", "number='tprr@0.01': is unknown"),
        ("acu>0.5", "did you mean 'auc'"),
        ("auc.lo>0.5", "bound='lo': is unknown; did you mean 'low'"),
        ("tpr@x>0.5", "FPR 'x' is no number"),
        ("tpr@2>0.5", "FPR '2': is not in [0, 1)"),
        ("auc>many", "limit 'many' is no number"),
        ("auc>nan", "limit 'nan' is no number"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_part(text, words):
    with pytest.raises(UserError) as caught:
        gate.parse(text, TWO)
    assert str(caught.value).startswith(f"--fail_if={text}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "names", "words"),
    [
        ("tpr@0.001>0.1", TWO, "200 non-members, which do not resolve an FPR of 0.001"),
        ("tpr@0.05>0.1", TWO, "give one of 0.1, 0.01, 0.001, or 0"),
        ("epsilon.high>1", ("best",), "has no high limit"),
        ("epsilon>1", TWO, "attack 'v1.2' has no low limit"),
        ("margin>0", ("best",), "has no blind control"),
        ("auc>0.5", ("lost", "best"), "attack 'lost' failed"),
    ],
)
def test_what_cannot_be_judged_is_refused(text, names, words):
    with pytest.raises(UserError, match="--fail_if=") as caught:
        broken(
            "auc.value>0.99" if names != ("lost", "best") else text, text, names=names
        )
    assert words in str(caught.value)
