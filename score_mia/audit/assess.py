"""From an attack's signals to its entry of metrics.json.

The rule sees reference rows only; everything that is measured is measured on the other
rows.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from score_mia.attacks.protocol import Attack
from score_mia.build import Plan
from score_mia.check import require
from score_mia.data.split import Split
from score_mia.engine import NETWORK_EVALUATIONS, non_finite
from score_mia.metrics.epsilon import epsilon_clopper_pearson, largest_certifiable
from score_mia.metrics.intervals import evaluate
from score_mia.metrics.roc import threshold_at
from score_mia.rules.protocol import Rule
from score_mia.signals import Signals

DELTA = 1e-5
"""Of the epsilon that attacks prove, where training names no delta of its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Assessment:
    """One attack, scored.

    Attributes:
      attack: which.
      rule: its rule, fitted.
      signals: the evaluation rows whose values are finite.
      scores: [n] their membership scores.
      entry: the attack's part of metrics.json.
      dropped: ids of rows left out because a value was not finite.
    """

    attack: Attack
    rule: Rule
    signals: Signals
    scores: np.ndarray
    entry: dict[str, Any]
    dropped: np.ndarray


def assess(
    attack: Attack, signals: Signals, split: Split, plan: Plan, seconds: float
) -> Assessment:
    """Fit the rule on its reference data and evaluate the membership scores.

    Args:
      attack: the attack.
      signals: of every image of the split, sorted by id.
      split: who is a member, and who is reference data.
      plan: the seed and the report's settings.
      seconds: what computing the signals took.
    """
    dropped = non_finite(signals)
    finite = ~np.isin(signals.ids, dropped)
    reference = split.reference & finite
    evaluation = signals.select(~split.reference & finite)
    for member, what in ((True, "members"), (False, "non-members")):
        require(
            bool(np.any(evaluation.member == member)),
            f"attack {attack.name!r}",
            f"has no {what} with finite signals to evaluate on",
            "check the target, or give a larger split",
        )
    rule = _fitted(attack, signals, reference)
    scores = np.asarray(rule.score(evaluation), np.float64)
    threshold, nominal = _fixed_threshold(rule, attack, signals, reference)
    entry = evaluate(
        scores,
        evaluation.member,
        level=plan.report.level,
        replicates=plan.report.replicates,
        seed=plan.seed,
        threshold=threshold,
    )
    if nominal is not None:
        entry["at_fixed_threshold"]["nominal_fpr"] = nominal
    entry |= {
        "epsilon_lower_bound": _epsilon(scores, evaluation.member, plan),
        "access": attack.signal.access,
        "reference": attack.reference,
        "chosen": rule.chosen,
        "non_finite": len(dropped),
        "cost": {
            "network_evaluations_per_image": _evaluations(evaluation),
            "seconds": round(seconds, 3),
        },
    }
    return Assessment(attack, rule, evaluation, scores, entry, dropped)


def _fitted(attack: Attack, signals: Signals, reference: np.ndarray) -> Rule:
    if attack.reference == "none":
        return attack.rule
    rows = reference if attack.reference == "split" else reference & ~signals.member
    require(
        bool(rows.any()),
        f"attack {attack.name!r}",
        f"wants {attack.reference!r} reference data and the split has none",
        "set split.reference above 0, or the attack's reference to 'none'",
    )
    return attack.rule.fit(signals.select(rows))


def _fixed_threshold(
    rule: Rule, attack: Attack, signals: Signals, reference: np.ndarray
) -> tuple[float | None, float | None]:
    """A threshold an attacker would fix on known non-members, and its nominal FPR.

    At 1 % if the reference non-members can resolve it, else at 10 %, else none.
    """
    strangers = signals.select(reference & ~signals.member)
    if attack.reference == "none":
        return None, None
    for fpr in (0.01, 0.1):
        if fpr * len(strangers) >= 1:
            return threshold_at(rule.score(strangers), fpr), fpr
    return None, None


def _epsilon(scores: np.ndarray, member: np.ndarray, plan: Plan) -> dict[str, Any]:
    """What the scores prove about epsilon, and what perfect ones would."""
    private = plan.train.dp
    told = {"delta": DELTA if private is None else private.delta}
    told["level"] = plan.report.level
    members = int(np.count_nonzero(member))
    nonmembers = len(member) - members
    return {
        "value": epsilon_clopper_pearson(scores, member, **told),
        "largest": largest_certifiable(members, nonmembers, **told, searched=True),
        **told,
    }


def _evaluations(signals: Signals) -> float | None:
    if NETWORK_EVALUATIONS not in signals.diagnostic_names:
        return None
    return float(np.mean(signals.column(NETWORK_EVALUATIONS), dtype=np.float64))
