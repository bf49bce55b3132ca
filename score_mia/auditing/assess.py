"""From an attack's signals to its entry of metrics.json.

The rule sees reference rows only; everything that is measured is measured on the other
rows. Of the reference non-members half are kept from the rule, so that the threshold
that an attacker would fix is set on images that chose nothing.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from score_mia.attacks.protocol import Attack
from score_mia.auditing.plan import Plan
from score_mia.check import UserError, one_line, require
from score_mia.data.split import Split
from score_mia.engine import NETWORK_EVALUATIONS, SignalError, non_finite
from score_mia.metrics.epsilon import epsilon_clopper_pearson, largest_certifiable
from score_mia.metrics.intervals import evaluate
from score_mia.metrics.roc import allowed, threshold_at
from score_mia.rules.protocol import Rule
from score_mia.signals import Signals

GRID_ERROR = "grid_error"
"""The diagnostic by which a signal tells the error of its grid, in bits/dim."""

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

    def hold_against(self, measured: Mapping[str, Any] | None) -> None:
        """Take a measured error of the signal's grid where it is above the told one."""
        if measured is None:
            return
        told = self.entry.get("accuracy", measured)
        self.entry["accuracy"] = max(told, measured, key=lambda error: error["mean"])


@dataclasses.dataclass(frozen=True)
class Failure:
    """One attack that gave no numbers.

    Attributes:
      attack: which.
      reason: why, on one line.
    """

    attack: Attack
    reason: str

    @property
    def entry(self) -> dict[str, Any]:
        """The attack's part of metrics.json: no number in it."""
        signal = self.attack.signal
        return {
            "failed": self.reason,
            "access": signal.access,
            "reference": self.attack.reference,
        }


S = TypeVar("S")
A = TypeVar("A")


def attempt(
    attack: Attack, read: Callable[[], S], judge: Callable[[S], A], trace: Path
) -> A | Failure:
    """`judge(read())`, or why it cannot be, so that the other attacks go on.

    Args:
      attack: the attack.
      read: computes its signals, or reads them from their files.
      judge: assesses them.
      trace: file that keeps the traceback of an error that is not the user's.

    Raises:
      UserError: of `read`, about something else than the signal: a damaged file, a
        full disk. That is no result of an attack.
    """
    signals = None
    try:
        signals = read()
        result = judge(signals)
    except UserError as error:
        if signals is None and not isinstance(error, SignalError):
            raise
        return Failure(attack, one_line(error))
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            return Failure(
                attack,
                "out of memory on the device; lower engine.tile or the attack's chunk",
            )
        # A user's own signal or rule: what only its author can read is kept for him.
        where = ""
        if trace.parent.is_dir():
            trace.write_text(traceback.format_exc(), encoding="utf-8")
            where = f"; see {trace}"
        return Failure(attack, f"{type(error).__name__}: {one_line(error)}{where}")
    trace.unlink(missing_ok=True)
    return result


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
    rule, held_out = _fitted(attack, signals, reference)
    scores = np.asarray(rule.score(evaluation), np.float64)
    threshold, nominal = _fixed_threshold(rule, signals.select(held_out))
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
        "calibration_nonmembers": int(np.count_nonzero(held_out)),
        "chosen": rule.chosen,
        "non_finite": len(dropped),
        "cost": {
            "network_evaluations_per_image": _evaluations(evaluation),
            "seconds": round(seconds, 3),
        },
        **_accuracy(evaluation),
    }
    return Assessment(attack, rule, evaluation, scores, entry, dropped)


def _fitted(
    attack: Attack, signals: Signals, reference: np.ndarray
) -> tuple[Rule, np.ndarray]:
    """The fitted rule, and the mask [N] of the non-members that may set its threshold.

    Half of the reference non-members are held out of the fit for that, if they are
    enough for the rate of 10 % and the rule can do with the others; if not, the rule
    gets them all and no threshold is set. A rule that learns nothing wastes none.
    """
    nobody = np.zeros(len(signals), bool)
    if attack.reference == "none":
        return attack.rule, nobody
    strangers = reference & ~signals.member
    rows = reference if attack.reference == "split" else strangers
    require(
        bool(rows.any()),
        f"attack {attack.name!r}",
        f"wants {attack.reference!r} reference data and the split has none",
        "set split.reference above 0, or the attack's reference to 'none'",
    )
    held_out = _half(signals.ids, strangers)
    if allowed(_RATES[-1], int(held_out.sum()) + 1) >= 1:
        try:
            rule = attack.rule.fit(signals.select(rows & ~held_out))
        except UserError:
            pass  # too few for this rule: it tells so again below, if all are too few
        else:
            return rule, strangers if _learned_nothing(attack.rule, rule) else held_out
    rule = attack.rule.fit(signals.select(rows))
    return rule, strangers if _learned_nothing(attack.rule, rule) else nobody


def _half(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mask [N] of every other one of the rows, in the order of a hash of their ids.

    The same images in every attack, in every run and on every host.
    """
    # The finaliser of SplitMix64 (Steele, Lea & Flood 2014): any two ids are as good
    # as independent, whatever order a data set was numbered in.
    x = ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    index = np.flatnonzero(rows)
    mask = np.zeros(len(ids), bool)
    mask[index[np.argsort(x[index], kind="stable")][1::2]] = True
    return mask


def _learned_nothing(before: Rule, after: Rule) -> bool:
    """Whether a fit gave the rule back as it was; only of a frozen value is it sure."""
    parameters = getattr(type(before), "__dataclass_params__", None)
    return after is before and parameters is not None and parameters.frozen


_RATES = (0.01, 0.1)
"""The nominal FPRs of the fixed threshold: the first that can be shown is taken."""


def _fixed_threshold(
    rule: Rule, strangers: Signals
) -> tuple[float | None, float | None]:
    """A threshold an attacker would fix on known non-members, and its nominal FPR.

    At 1 % with 99 of them or more, else at 10 % with 9 or more, else none.
    """
    for fpr in _RATES:
        if allowed(fpr, len(strangers) + 1) >= 1:
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


def _accuracy(signals: Signals) -> dict[str, Any]:
    """The error in bits/dim that a signal tells of its own grid, over all its rows."""
    if GRID_ERROR not in signals.diagnostic_names:
        return {}
    error = np.abs(signals.column(GRID_ERROR).astype(np.float64))
    error = error[np.isfinite(error)]
    if not len(error):
        return {}
    mean, most = float(error.mean()), float(error.max())
    return {"accuracy": {"mean": mean, "max": most, "images": len(error)}}


def _evaluations(signals: Signals) -> float | None:
    if NETWORK_EVALUATIONS not in signals.diagnostic_names:
        return None
    return float(np.mean(signals.column(NETWORK_EVALUATIONS), dtype=np.float64))
