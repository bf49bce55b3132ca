"""`--fail_if`: conditions on an audit's numbers under which a release is stopped.

    [ATTACK:]NUMBER[.BOUND] > LIMIT        also >=, <, <=

NUMBER is `auc`, `balanced_accuracy`, `tpr@FPR` (`tpr@0`: at zero false positives),
`epsilon` (the proven lower bound) or `margin` (AUC above that of the blind control);
or `copies`, which is of no attack: the share of the model's samples that nearly repeat
a member.
BOUND is `low` or `high`, the limits of its interval, or `value`. Without it a condition
is judged by what the interval makes certain: `low` for `>`, `high` for `<`. Without
ATTACK it speaks of every attack.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from score_mia.check import UserError, one_of, require
from score_mia.metrics.copies import Copies
from score_mia.results import UNKNOWN, AttackResult, AuditResult, Estimate

_SIGNS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_COPIES = "copies"
_NUMBERS = ("auc", "balanced_accuracy", _COPIES, "epsilon", "margin", "tpr@FPR")
_BOUNDS = ("value", "low", "high")


class Condition(NamedTuple):
    """One parsed condition.

    Attributes:
      text: as it was given.
      attack: whom it speaks of; None for every attack, and for `copies`.
      number: which of its numbers.
      rate: FPR of "tpr@FPR"; None for the others.
      bound: "value", "low" or "high".
      sign: of the comparison.
      limit: what the number is compared with.
    """

    text: str
    attack: str | None
    number: str
    rate: float | None
    bound: str
    sign: str
    limit: float

    @property
    def what(self) -> str:
        """The number and its bound, as one writes them."""
        rate = "" if self.rate is None else f"{self.rate:g}"
        return f"{self.number.replace('FPR', rate)}.{self.bound}"


def parse(text: str, attacks: Iterable[str]) -> Condition:
    """A condition from its text.

    Args:
      text: see the module.
      attacks: names of those that there are.

    Raises:
      UserError: the line names the part of the condition that is wrong.
    """
    owner = f"--fail_if={text}"
    found = re.fullmatch(r"(?:([^:]*):)?([^<>=]+)([<>]=?)([^<>=]+)", text.strip())
    if found is None:
        remedy = "write [ATTACK:]NUMBER[.BOUND]>LIMIT, such as tpr@0.01.low>0.05"
        raise UserError(f"{owner}: is no condition; {remedy}")
    attack, left, sign, right = found.groups()
    if attack is not None:
        one_of(f"{owner}: attack", attack.strip(), attacks)
        attack = attack.strip()
    number, bound = left.strip(), "low" if sign[0] == ">" else "high"
    suffix = re.fullmatch(r"(.+)\.([A-Za-z_]\w*)", number)
    if suffix is not None:
        number, bound = suffix.groups()
        one_of(f"{owner}: bound", bound, _BOUNDS)
    rate = None
    if number.startswith("tpr@"):
        rate = _float(owner, "FPR", number.removeprefix("tpr@"))
        number = "tpr@FPR"
    one_of(f"{owner}: number", number, _NUMBERS)
    ok = number != _COPIES or attack is None
    require(ok, owner, "copies are of no attack", f"write {_COPIES}{sign}{right}")
    limit = _float(owner, "limit", right.strip())
    return Condition(text, attack, number, rate, bound, sign, limit)


def broken(
    conditions: Sequence[Condition], result: AuditResult, copies: Copies | None = None
) -> list[str]:
    """One line for every attack and condition that holds, and so stops the release.

    Args:
      conditions: by `parse`.
      result: of the audit.
      copies: what was found among its samples; None where none were looked at.

    Raises:
      UserError: a condition that cannot be judged: the non-members do not resolve its
        rate, or the attack has no such number. What can be said of the others is in
        the line too.
    """
    lines, unknown = [], []
    for one in conditions:
        for whose, estimate, problem in _spoken_of(one, result, copies):
            at = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            value = at[one.bound]
            owner = f"--fail_if={one.text}: {whose}"
            if problem or value is None:
                unknown.append(f"{owner} {problem or f'has no {one.bound} limit'}")
            elif _SIGNS[one.sign](value, one.limit):
                lines.append(f"{owner} has {one.what} {value:.4g}; do not release it")
    if unknown:
        raise UserError("; ".join([*unknown, *lines]))
    return lines


def _spoken_of(
    condition: Condition, result: AuditResult, copies: Copies | None
) -> Iterator[tuple[str, Estimate, str]]:
    """Whose number a condition is of, the number, and why there is none."""
    if condition.number == _COPIES:
        rate = UNKNOWN if copies is None else copies.members.rate
        none = "has drawn no samples; ask for some, such as report=dict(samples=1000)"
        yield "the audit", rate, none if copies is None else ""
        return
    one = condition.attack
    for name in result.attacks if one is None else (one,):
        yield (f"attack {name!r}", *_estimate(condition, result.attacks[name]))


def _estimate(condition: Condition, attack: AttackResult) -> tuple[Estimate, str]:
    """The number that a condition speaks of, and why there is none."""
    if attack.failed is not None:
        return UNKNOWN, "failed; mend it, or name another attack"
    if condition.number == "epsilon":
        proven = attack.epsilon_lower_bound
        value = None if proven is None else proven.value
        return Estimate(value, value, None), ""
    if condition.number == "margin":
        return attack.margin or UNKNOWN, "" if attack.margin else "has no blind control"
    if condition.number != "tpr@FPR":
        plain = {"auc": attack.auc, "balanced_accuracy": attack.balanced_accuracy}
        return plain[condition.number], ""
    if condition.rate == 0:
        return attack.tpr_at_zero_fp, ""
    if condition.rate not in attack.tpr_at_fpr:
        known = ", ".join(f"{r:g}" for r in attack.rates)
        return UNKNOWN, f"has no TPR at {condition.rate:g}; give one of {known}, or 0"
    estimate = attack.tpr_at_fpr[condition.rate]
    if estimate.resolvable:
        return estimate, ""
    return UNKNOWN, (
        f"has {attack.nonmembers} non-members, which do not resolve an FPR of "
        f"{condition.rate:g}; give {1 / attack.nonmembers:.2g} or more, or more of them"
    )


def _float(owner: str, part: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{owner}: {part} {text!r} is no number; give one")
    within = part != "FPR" or 0 <= value < 1
    require(within, f"{owner}: FPR {text!r}", "is not in [0, 1)", "give 0.01, say")
    return value
