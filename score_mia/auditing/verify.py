"""`verify`: the numbers of metrics.json, recomputed from the scores that are kept."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from score_mia.auditing import copies, exposed
from score_mia.auditing.guard import Change, differences
from score_mia.data.split import Split
from score_mia.files import load_json, load_sealed
from score_mia.metrics.epsilon import epsilon_bound
from score_mia.metrics.intervals import evaluate, proportion, widened
from score_mia.report.files import FACTS
from score_mia.report.text import PROMISES, SPACE, above_nominal, thresholds
from score_mia.results import (
    METRICS,
    AttackResult,
    AuditResult,
    Estimate,
    FixedThreshold,
)
from score_mia.storage import existing
from score_mia.typed import to_json


class Verdict(NamedTuple):
    """What `verify` found.

    Attributes:
      numbers: how many were recomputed.
      differing: those that differ from metrics.json, with both values; those of
        copies.json under "copies".
      unchecked: parts of it that cannot be recomputed from what is kept.
      above: attacks whose fixed threshold accuses more than it was set for, in words.
    """

    numbers: int
    differing: list[Change]
    unchecked: list[str]
    above: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line for each number that differs, and one for the sum."""
        lines = [_line(change) for change in self.differing]
        lines += self.above
        recorded = f"; taken as recorded: {', '.join(self.unchecked)}"
        rest = recorded if self.unchecked else ""
        sum_ = f"{len(self.differing)} of {self.numbers} numbers differ{rest}"
        return "\n".join([*lines, sum_])


def verify(workdir: str | Path) -> Verdict:
    """Recompute every number that the kept scores decide.

    Args:
      workdir: of a finished audit, or a copy of its metrics.json, config.json and
        scores/; with split.npz the counts of the split are recomputed too, and with
        copies.npz the statements of copies.json.

    Raises:
      UserError: a file is missing, damaged, or changed since it was written.
    """
    folder = existing(workdir, "workdir")
    result = AuditResult.load(folder)
    config = load_json(folder / "config.json", dict)
    replicates = config.get("report", {}).get("replicates", 1000)
    attacks = {
        name: attack
        if attack.failed or attack.kind == "set"
        else _again(folder, name, attack, result, replicates)
        for name, attack in result.attacks.items()
    }
    again = dataclasses.replace(result, attacks=attacks)
    unchecked = ["target"]
    if (folder / "split.npz").exists():
        counts = Split.load(folder / "split.npz").counts
        split = dataclasses.replace(result.split, **counts)
        again = dataclasses.replace(again, split=split)
    else:
        unchecked.append("split")
    unchecked.append("controls")
    before, now = _part(result), _part(again)
    if (folder / copies.RECORD).exists():
        both = copies.again(folder)
        if both is None:
            unchecked.append("copies")
        else:
            before["copies"], now["copies"] = both
    changes = differences(before, now) + _facts(folder, again)
    above = tuple(
        f"{name}: {words.replace(SPACE, ' ')}"
        for name, entry in again.scored.items()
        if (words := above_nominal(entry))
    )
    return Verdict(_count(now), changes, unchecked, above)


def _facts(folder: Path, again: AuditResult) -> list[Change]:
    """What facts.json tells of fixed thresholds, against the numbers made again."""
    if not (folder / FACTS).exists():
        return []
    kept = dict(load_sealed(folder / FACTS, {"facts": list})["facts"])
    if PROMISES not in kept:
        return []  # of an earlier version
    now = thresholds(again).get(PROMISES, {})
    return differences(dict(kept[PROMISES]), now, PROMISES)


def _line(change: Change) -> str:
    """A number that differs, in words."""
    where = (METRICS, "the scores")
    if change.name.startswith("copies."):
        where = (copies.RECORD, "the distances")
    elif change.name.startswith(PROMISES):
        where = (FACTS, "the scores")
    said, now = where
    return f"{change.name}: {said} says {change.before!r}, {now} {change.now!r}"


def _again(
    folder: Path, name: str, attack: AttackResult, result: AuditResult, replicates: int
) -> AttackResult:
    """One attack's numbers, from its scores."""
    _, member, scores = exposed.load(folder, name)
    fixed, proven = attack.at_fixed_threshold, attack.epsilon_lower_bound
    numbers = evaluate(
        scores,
        member,
        level=result.level,
        replicates=replicates,
        seed=result.seed,
        threshold=None if fixed is None else fixed.threshold,
        excess=attack.excess or 1.0,
    )
    if attack.excess is not None:
        again = None if fixed is None else _limited(fixed, numbers, attack.excess)
        return dataclasses.replace(numbers, at_fixed_threshold=again)
    if fixed is not None and numbers.at_fixed_threshold is not None:
        again = dataclasses.replace(
            numbers.at_fixed_threshold, nominal_fpr=fixed.nominal_fpr
        )
        numbers = dataclasses.replace(numbers, at_fixed_threshold=again)
    if proven is not None:
        bound = epsilon_bound(scores, member, proven.delta, proven.level)
        numbers = dataclasses.replace(numbers, epsilon_lower_bound=bound)
    return numbers


def _limited(
    fixed: FixedThreshold, numbers: AttackResult, excess: float
) -> FixedThreshold:
    """Rates with the limits that their counts have.

    The counts are taken as recorded: each fold has a threshold of its own, which is not
    kept.
    """

    def made(rate: Estimate, n: int) -> Estimate:
        found = round((rate.value or 0.0) * n)
        return widened(proportion(found, n, numbers.level), excess)

    tpr, fpr = made(fixed.tpr, numbers.members), made(fixed.fpr, numbers.nonmembers)
    return dataclasses.replace(fixed, tpr=tpr, fpr=fpr)


def _part(result: AuditResult) -> dict[str, Any]:
    """What is compared: of attacks what scores decide, and the counts of the split."""
    record = to_json(result)
    attacks = {
        name: {key: value for key, value in entry.items() if key in _NUMBERS}
        for name, entry in record.get("attacks", {}).items()
    }
    return {"split": record.get("split", {}), "attacks": attacks}


_NUMBERS = (
    *("members", "nonmembers", "level", "auc", "balanced_accuracy", "tpr_at_fpr"),
    *("tpr_at_zero_fp", "mirrored", "at_fixed_threshold", "epsilon_lower_bound"),
)
"""Fields of an attack's result that its scores decide."""


def _count(record: Any) -> int:
    """How many numbers a record holds."""
    if isinstance(record, dict):
        return sum(map(_count, record.values()))
    return int(isinstance(record, int | float) and not isinstance(record, bool))
