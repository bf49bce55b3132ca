"""From an attack's signals to its entry of metrics.json.

The rule sees reference rows only; everything that is measured is measured on the other
rows. Of the reference non-members half are kept from the rule, so that the threshold
that an attacker would fix is set on images that chose nothing.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from score_mia.arrays import hashed
from score_mia.attacks.protocol import (
    GRID_ERROR,
    NETWORK_EVALUATIONS,
    Attack,
    Counted,
)
from score_mia.auditing.plan import Plan
from score_mia.check import Damaged, UserError, one_line, require
from score_mia.data.split import Split
from score_mia.hosts import TaskError
from score_mia.metrics.epsilon import epsilon_clopper_pearson, largest_certifiable
from score_mia.metrics.intervals import evaluate
from score_mia.metrics.roc import allowed, threshold_at
from score_mia.readings import Evidence, Readings
from score_mia.results import AsPublished, AttackResult, EpsilonBound, GridError
from score_mia.rules.protocol import Rule, Scorer
from score_mia.typed import from_json

DELTA = 1e-5
"""Of the epsilon that attacks prove, where training names no delta of its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Assessment:
    """One attack, scored.

    Attributes:
      attack: which.
      scorer: what its rule's fit came to.
      signals: the evaluation rows whose values are finite, labelled.
      scores: [n] their membership scores.
      entry: the attack's part of metrics.json.
      dropped: ids of rows left out because a value was not finite.
    """

    attack: Attack
    scorer: Scorer
    signals: Readings
    scores: np.ndarray
    entry: AttackResult
    dropped: np.ndarray

    def held_against(self, measured: GridError | None) -> Assessment:
        """With a measured error of the signal's grid where it is above the own one."""
        own = self.entry.accuracy
        if measured is None or (own is not None and own.mean >= measured.mean):
            return self
        entry = dataclasses.replace(self.entry, accuracy=measured)
        return dataclasses.replace(self, entry=entry)


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
    def entry(self) -> AttackResult:
        """The attack's part of the audit's result: no number in it."""
        one = self.attack
        return AttackResult(access=one.access, knows=one.knows, failed=self.reason)


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
    evidence = None
    try:
        evidence = read()
        result = judge(evidence)
    except Damaged:
        raise
    except UserError as error:
        if evidence is None and not isinstance(error, TaskError):
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


def assess(attack: Attack, evidence: Evidence, split: Split, plan: Plan) -> Assessment:
    """Fit the rule on its reference data and evaluate the membership scores.

    Args:
      attack: the attack.
      evidence: readings of every image of the split, unlabelled, sorted by id.
      split: who is a member, and who is reference data.
      plan: the seed and the report's settings.
    """
    finite = evidence.target.finite()
    dropped = evidence.target.ids[~finite]
    reference = split.reference & finite
    judged = ~split.reference & finite
    member = split.member[judged]
    for group, what in ((True, "members"), (False, "non-members")):
        require(
            bool(np.any(member == group)),
            f"attack {attack.name!r}",
            f"has no {what} with finite signals to evaluate on",
            "check the target, or give a larger split",
        )
    scorer, held_out = _fitted(attack, evidence, split.member, reference)
    evaluation = evidence.select(judged)
    scores = np.asarray(scorer(evaluation), np.float64)
    threshold, nominal = _fixed_threshold(scorer, evidence.select(held_out))
    numbers = evaluate(
        scores,
        member,
        level=plan.report.level,
        replicates=plan.report.replicates,
        seed=plan.seed,
        threshold=threshold,
    )
    fixed = numbers.at_fixed_threshold
    if fixed is not None:
        fixed = dataclasses.replace(fixed, nominal_fpr=nominal)
    readings = dataclasses.replace(evaluation.target, member=member)
    entry = dataclasses.replace(
        numbers,
        access=attack.access,
        knows=attack.knows,
        chosen=scorer.about,
        non_finite=len(dropped),
        calibration_nonmembers=int(np.count_nonzero(held_out)),
        at_fixed_threshold=fixed,
        epsilon_lower_bound=_epsilon(scores, member, plan),
        accuracy=_accuracy(readings),
        as_published=_counted(attack, scores, member),
        network_evaluations_per_image=_evaluations(readings),
    )
    return Assessment(attack, scorer, readings, scores, entry, dropped)


def _fitted(
    attack: Attack, evidence: Evidence, member: np.ndarray, reference: np.ndarray
) -> tuple[Scorer, np.ndarray]:
    """The fitted rule, and the mask [N] of the non-members that may set its threshold.

    Half of the reference non-members are held out of the fit for that, if they are
    enough for the rate of 10 % and the rule can do with the others; if not, the rule
    gets them all and no threshold is set. A rule that learns nothing wastes none.
    """
    rule = attack.rule
    assert isinstance(rule, Rule)
    nobody = np.zeros(len(member), bool)
    strangers = reference & ~member
    rows = {"split": reference, "population": strangers}.get(attack.knows, nobody)

    def known(rows: np.ndarray) -> Evidence:
        shown = dataclasses.replace(evidence.target.select(rows), member=member[rows])
        return evidence._replace(target=shown)

    if attack.knows in ("none", "shadows"):
        return rule.fit(known(nobody)), nobody
    require(
        bool(rows.any()),
        f"attack {attack.name!r}",
        f"wants {attack.knows!r} reference data and the split has none",
        "set split.reference above 0, or the attack's knows to 'none'",
    )
    held_out = _half(evidence.target.ids, strangers)
    if allowed(_RATES[-1], int(held_out.sum()) + 1) >= 1:
        try:
            scorer = rule.fit(known(rows & ~held_out))
        except UserError:
            pass  # too few for this rule: it tells so again below, if all are too few
        else:
            return scorer, held_out if scorer.fitted_on else strangers
    scorer = rule.fit(known(rows))
    return scorer, nobody if scorer.fitted_on else strangers


def _half(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Mask [N] of every other one of the rows, in the order of a hash of their ids.

    The same images in every attack, in every run and on every host.
    """
    index = np.flatnonzero(rows)
    mask = np.zeros(len(ids), bool)
    mask[index[np.argsort(hashed(ids[index]), kind="stable")][1::2]] = True
    return mask


def _counted(
    attack: Attack, scores: np.ndarray, member: np.ndarray
) -> AsPublished | None:
    """The numbers as an attack's own paper counts them, if it does so otherwise."""
    for signal in attack.signals.values():
        if isinstance(signal, Counted):
            counted = signal.counted(scores, member)
            return from_json(AsPublished, counted, f"attack {attack.name!r}")
    return None


_RATES = (0.01, 0.1)
"""The nominal FPRs of the fixed threshold: the first that can be shown is taken."""


def _fixed_threshold(
    scorer: Scorer, strangers: Evidence
) -> tuple[float | None, float | None]:
    """A threshold an attacker would fix on known non-members, and its nominal FPR.

    At 1 % with 99 of them or more, else at 10 % with 9 or more, else none.
    """
    for fpr in _RATES:
        if allowed(fpr, len(strangers.target) + 1) >= 1:
            return threshold_at(scorer(strangers), fpr), fpr
    return None, None


def _epsilon(scores: np.ndarray, member: np.ndarray, plan: Plan) -> EpsilonBound:
    """What the scores prove about epsilon, and what perfect ones would."""
    private = None if plan.train is None else plan.train.dp
    delta = DELTA if private is None else private.delta
    level = plan.report.level
    members = int(np.count_nonzero(member))
    nonmembers = len(member) - members
    return EpsilonBound(
        epsilon_clopper_pearson(scores, member, delta=delta, level=level),
        largest_certifiable(members, nonmembers, delta, level, searched=True),
        delta,
        level,
    )


def _accuracy(signals: Readings) -> GridError | None:
    """The error in bits/dim that a signal tells of its own grid, over all its rows."""
    if not _tells(signals, GRID_ERROR):
        return None
    error = np.abs(signals.column(GRID_ERROR).astype(np.float64))
    error = error[np.isfinite(error)]
    if not len(error):
        return None
    return GridError(float(error.mean()), float(error.max()), len(error))


def _evaluations(signals: Readings) -> float | None:
    if not _tells(signals, NETWORK_EVALUATIONS):
        return None
    return float(np.mean(signals.column(NETWORK_EVALUATIONS), dtype=np.float64))


def _tells(signals: Readings, name: str) -> bool:
    return signals.diagnostics is not None and name in signals.diagnostics.names
