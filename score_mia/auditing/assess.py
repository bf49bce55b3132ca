"""From an attack's signals to its entry of metrics.json.

Who sees which rows with their labels, and which are judged, is for the attack's scheme
to say (rules/scheme.py).
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from score_mia.attacks.protocol import (
    GRID_ERROR,
    NETWORK_EVALUATIONS,
    QUERIES,
    Attack,
    Counted,
    Refinable,
)
from score_mia.auditing.plan import Plan
from score_mia.check import Damaged, Unreachable, UserError, one_line, require
from score_mia.data.split import Split
from score_mia.hosts import TaskError
from score_mia.metrics.epsilon import epsilon_bound
from score_mia.metrics.intervals import evaluate
from score_mia.readings import Evidence, Readings
from score_mia.results import (
    AsPublished,
    AttackResult,
    EpsilonBound,
    Estimate,
    GridError,
    SetFinding,
)
from score_mia.rules.protocol import Rule, Scorer, SetEstimate, SetTest, TestResult
from score_mia.rules.scheme import Folded, Known, Scored, half
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
      known: what the scheme dealt out.
    """

    attack: Attack
    scorer: Scorer
    signals: Readings
    scores: np.ndarray
    entry: AttackResult
    dropped: np.ndarray
    known: Known

    def held_against(self, measured: GridError | None) -> Assessment:
        """With a measured error of the signal's grid where it is above the own one."""
        own = self.entry.accuracy
        if measured is None or (own is not None and own.mean >= measured.mean):
            return self
        entry = dataclasses.replace(self.entry, accuracy=measured)
        return dataclasses.replace(self, entry=entry)


@dataclasses.dataclass(frozen=True)
class SetAssessment:
    """One attack on a whole set, which scores no image.

    Attributes:
      attack: which.
      entry: the attack's part of the audit's result.
    """

    attack: Attack
    entry: AttackResult


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
    except (Damaged, Unreachable):
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
      evidence: readings of every image of the split that the attack needs, unlabelled,
        sorted by id.
      split: who is a member, and who is reference data.
      plan: the seed and the report's settings.
    """
    known = _known(attack, evidence, split, plan)
    assert isinstance(attack.rule, Rule)
    judged = attack.scheme.judged(known)
    member = known.member[judged]
    for group, what in ((True, "members"), (False, "non-members")):
        require(
            bool(np.any(member == group)),
            f"attack {attack.name!r}",
            f"has no {what} with finite signals to evaluate on",
            "check the target, or give a larger split",
        )
    scored = attack.scheme.score(attack.rule, known)
    scorer, scores = scored.scorer, scored.scores
    evaluation = known.evidence.select(judged)
    dropped = np.setdiff1d(evidence.target.ids, known.evidence.target.ids)
    numbers = evaluate(
        scores,
        member,
        level=plan.report.level,
        replicates=plan.report.replicates,
        seed=plan.seed,
        threshold=scored.threshold,
        excess=scored.excess,
    )
    fixed = numbers.at_fixed_threshold
    if fixed is not None:
        fixed = dataclasses.replace(fixed, nominal_fpr=scored.nominal)
    readings = dataclasses.replace(evaluation.target, member=member)
    entry = dataclasses.replace(
        numbers,
        access=attack.access,
        knows=attack.knows,
        chosen=scorer.about,
        known_members=scored.known_members,
        non_finite=len(dropped),
        calibration_nonmembers=scored.calibration,
        at_fixed_threshold=fixed,
        epsilon_lower_bound=_epsilon(scored, member, plan),
        accuracy=_accuracy(readings),
        as_published=_counted(attack, scores, member),
        network_evaluations_per_image=_mean_of(readings, NETWORK_EVALUATIONS),
        queries_per_image=_mean_of(readings, QUERIES),
        excess=scored.excess if isinstance(scorer, Folded) else None,
    )
    return Assessment(attack, scorer, readings, scores, entry, dropped, known)


def assess_set(
    attack: Attack, evidence: Evidence, split: Split, plan: Plan
) -> SetAssessment:
    """Let a test of sets judge the evaluation members, and non-members in their place.

    Half of the evaluation non-members are these; all other non-members are those that
    were surely not trained on. Arguments as of `assess`.

    Raises:
      UserError: one of the three sets is empty.
    """
    known = _known(attack, evidence, split, plan)
    test, rows = attack.rule, known.evidence.unlabelled()
    assert isinstance(test, SetTest)
    members = known.member & ~known.reference
    innocent = half(rows.target.ids, ~known.member & ~known.reference)
    unseen = ~known.member & ~innocent
    for group, what in ((members, "members"), (innocent, "non-members to accuse")):
        require(
            bool(group.any()),
            f"attack {attack.name!r}",
            f"has no {what} with finite signals",
            "check the target, or give a larger split",
        )
    found, false = (
        test.judge(rows.select(group), rows.select(unseen), plan.seed)
        for group in (members, innocent)
    )
    entry = AttackResult(
        kind="set",
        access=attack.access,
        knows=attack.knows,
        chosen=found.about,
        members=int(members.sum()),
        nonmembers=int(unseen.sum()),
        non_finite=len(evidence.target.ids) - len(rows.target.ids),
        level=plan.report.level,
        network_evaluations_per_image=_mean_of(rows.target, NETWORK_EVALUATIONS),
        queries_per_image=_mean_of(rows.target, QUERIES),
        innocent=SetFinding(int(innocent.sum()), *_finding(false)),
    )
    p_value, share = _finding(found)
    return SetAssessment(
        attack, dataclasses.replace(entry, p_value=p_value, share=share)
    )


def _finding(found: TestResult | SetEstimate) -> tuple[float | None, Estimate | None]:
    """The p-value or the share, whichever it is."""
    if isinstance(found, SetEstimate):
        return None, Estimate(found.value, found.low, found.high)
    return found.p_value, None


def _known(attack: Attack, evidence: Evidence, split: Split, plan: Plan) -> Known:
    """The rows whose values are finite, and their roles."""
    finite = evidence.target.finite()
    rows = np.searchsorted(split.ids, evidence.target.ids[finite])
    roles = (split.member[rows], split.reference[rows])
    refined = any(isinstance(signal, Refinable) for signal in attack.signals.values())
    return Known(evidence.select(finite), *roles, attack.knows, plan.seed, refined)


def _counted(
    attack: Attack, scores: np.ndarray, member: np.ndarray
) -> AsPublished | None:
    """The numbers as an attack's own paper counts them, if it does so otherwise."""
    for signal in attack.signals.values():
        if isinstance(signal, Counted):
            counted = signal.counted(scores, member)
            return from_json(AsPublished, counted, f"attack {attack.name!r}")
    return None


def _epsilon(scored: Scored, member: np.ndarray, plan: Plan) -> EpsilonBound | None:
    """What the scores prove about epsilon, and what perfect ones would.

    Nothing if they depend on each other, for the proof counts independent images; nor
    of images whose membership the attacker knew, for those are no guesses.
    """
    if isinstance(scored.scorer, Folded) or scored.known_members:
        return None
    private = None if plan.train is None else plan.train.dp
    delta = DELTA if private is None else private.delta
    return epsilon_bound(scored.scores, member, delta, plan.report.level)


def _accuracy(signals: Readings) -> GridError | None:
    """The error in bits/dim that signals tell of their grids, over all rows."""
    told = _told(signals, GRID_ERROR)
    if not told:
        return None
    error = np.max(np.abs(told), axis=0)
    error = error[np.isfinite(error)]
    if not len(error):
        return None
    return GridError(float(error.mean()), float(error.max()), len(error))


def _mean_of(signals: Readings, cost: str) -> float | None:
    """What an image costs by one count, over all signals that tell it."""
    told = _told(signals, cost)
    return float(np.sum(told, axis=0).mean()) if told else None


def _told(signals: Readings, name: str) -> list[np.ndarray]:
    """A diagnostic [N] of each of an attack's signals that has it, float64."""
    names = () if signals.diagnostics is None else signals.diagnostics.names
    own = [n for n in names if n.rsplit("/", 1)[-1] == name]
    return [signals.column(n).astype(np.float64) for n in own]
