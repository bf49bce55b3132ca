"""The verdict: two sentences that the owner of a model understands.

Decided on intervals only, never on point estimates. The quoted attack is the strongest
of those run; because looking for the strongest of k is itself a search, "better than
chance" is claimed only if the interval, widened for k looks (Bonferroni, on the normal
scale), excludes chance.

An interval that lies wholly *below* chance is no all-clear: the scores tell the groups
apart, with the wrong sign. Such an attack is judged on its mirrored scores, and the
words say so.

Where a classifier that never saw the model tells the groups apart, an attack that is
not shown to find more says nothing of the model, however high its rates are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

from score_mia.report import controls
from score_mia.report.text import DASH, SPACE, level, share, unit
from score_mia.results import AttackResult, AuditResult, Estimate

Kind = Literal["strong", "partial", "looks", "chance", "unclear"]

FEWEST = 10
"""With fewer members or non-members than this nothing is claimed."""
EXCLUDED = 0.65
"""An AUC interval that crosses 0.5 and reaches beyond this, or as far below 0.5, rules
nothing out."""
STRONG = {0.01: 0.1, 0.1: 0.5}
"""A leak is strong if the TPR's lower end at one of these FPRs reaches the share."""
APART = 0.05
"""The groups differ by their looks if chance gives it less often than this."""

WORDS: dict[Kind, str] = {
    "strong": "Yes",
    "partial": "Partly",
    "looks": "Cannot tell",
    "chance": "Not found",
    "unclear": "Not enough data",
}
HOLDERS = {
    "none": "who has the images alone",
    "samples": "who can ask for samples",
    "observed": "who sees samples being made",
    "scores": "who can query the network",
    "gradients": "who holds the model's parameters",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The answer to "does this model give away its training images?".

    Attributes:
      kind: which of the five cases holds; `word` is its short answer.
      finding: what was measured, one sentence with interval and n.
      meaning: what follows from it and what to do, one sentence.
      attack: the name of the attack quoted, None if there was none.
      basis: how the case was decided, for a footnote.
      quoted: the TPR with both ends of its interval, and the FPR it was measured at.
    """

    kind: Kind
    finding: str
    meaning: str
    attack: str | None = None
    basis: str = ""
    quoted: tuple[float, float, float, float] | None = None

    @property
    def word(self) -> str:
        """The short answer, e.g. "Yes"."""
        return WORDS[self.kind]


@dataclasses.dataclass(frozen=True)
class _Case:
    """An attack as the verdict sees it: one of the wrong sign as its mirror image.

    `unshown` is that it is not shown to exceed the blind classifier, `apart` that this
    one tells the groups apart, `looks` of how many attacks it is the best.
    """

    title: str
    access: str
    members: int
    nonmembers: int
    auc: tuple[float, float, float]
    tpr: Mapping[float, Estimate]
    turned: bool
    unshown: bool
    apart: bool
    looks: int

    @property
    def enough(self) -> bool:
        return min(self.members, self.nonmembers) >= FEWEST

    @property
    def above_chance(self) -> bool:
        return controls.widened_low(self.auc, self.looks) > 0.5

    @property
    def shown(self) -> bool:
        """Whether it is better than chance, and not by the images' looks alone."""
        return self.above_chance and not (self.apart and self.unshown)

    @property
    def strong(self) -> bool:
        return self.shown and any(map(self.reaches, self.resolved))

    @property
    def reaches_far(self) -> bool:
        """Whether the interval leaves room for a leak of this size, of either sign."""
        return self.auc[2] > EXCLUDED or self.auc[1] < 1 - EXCLUDED

    @property
    def resolved(self) -> list[float]:
        """The rates of `STRONG`, lowest first, that the non-members resolve."""
        return [r for r in STRONG if r in self.tpr and self.tpr[r].known]

    def reaches(self, rate: float) -> bool:
        """Whether the TPR's lower end at a resolved rate makes a strong leak."""
        return self.tpr[rate].interval[1] >= STRONG[rate]

    @property
    def headline(self) -> float | None:
        """The FPR to quote: the lowest of a strong leak, else the lowest known."""
        rates = self.resolved
        first = rates[0] if rates else None
        return next((r for r in rates if self.reaches(r)), first)

    @property
    def quoted(self) -> tuple[float, float, float, float] | None:
        rate = self.headline
        return None if rate is None else (*self.tpr[rate].interval, rate)

    @property
    def strength(self) -> tuple[float, ...]:
        """What makes an attack the one to quote: its case, then its rates."""
        quoted = self.quoted
        low = quoted[1] if quoted else 0.0
        return self.strong, self.shown, self.above_chance, low, self.auc[1]

    @property
    def holder(self) -> str:
        """Who can run it, in words."""
        holder = HOLDERS.get(self.access, "who has what the attack needs")
        if not self.turned:
            return holder
        return (
            f"{holder}, reading the scores of {self.title} the other way round (they "
            "rank training images below the others),"
        )


def verdict(result: AuditResult, titles: Mapping[str, str] | None = None) -> Verdict:
    """The verdict on an audit's numbers; titles by attack name, if known."""
    cases = _cases(result, titles or {})
    if not cases:
        none = "No attack gave a result, so nothing can be said about this model."
        if result.sets:
            none = "No attack told single images apart, and none claims to."
        return Verdict(
            "unclear",
            none + _sets(result) + _failed(result),
            "Run the audit with at least one attack before deciding anything.",
        )
    kind = _kind([*cases.values()])
    name = max(cases, key=lambda key: cases[key].strength)
    case = cases[name]
    words = {
        "strong": _strong,
        "partial": _partial,
        "looks": _partial,
        "chance": _chance,
        "unclear": _unclear,
    }
    finding = words[kind](case)
    if not case.turned and kind != "unclear":
        finding += controls.margin(result.attacks[name], case.looks)
    finding += _sets(result) + _failed(result)
    quoted = None if kind in ("looks", "unclear") else case.quoted
    meaning = _WRONG_SIGN if case.turned else _MEANING[kind]
    if kind == "partial" and case.unshown:
        meaning = _PERHAPS
    return Verdict(kind, finding, meaning, name, _basis(len(cases)), quoted)


def reversals(result: AuditResult) -> list[str]:
    """A warning for each attack whose AUC lies below 0.5 for certain."""
    return [
        f"{name}: ranks training images below the others (AUC {unit(1 - case.auc[0])}, "
        f"95{SPACE}% interval {unit(1 - case.auc[2])}{DASH}{unit(1 - case.auc[1])}). "
        "That is a leak with the wrong sign, or a mistake in the signal, the split or "
        "the data; it is no sign of safety."
        for name, case in _cases(result, {}).items()
        if case.turned
    ]


def _sets(result: AuditResult) -> str:
    """What tests of whole sets say, for the end of a finding."""
    said = [f"{n}: {controls.finding(a)}" for n, a in result.sets.items()]
    return f" As a set ({'; '.join(said)})." if said else ""


def _failed(result: AuditResult) -> str:
    """That attacks failed, for the end of a finding; empty if none did."""
    if not result.failures:
        return ""
    return f" Failed, and so not part of this answer: {', '.join(result.failures)}."


def _cases(result: AuditResult, titles: Mapping[str, str]) -> dict[str, _Case]:
    """The attacks that gave a number; one of the wrong sign as its mirror image.

    Those that are judged by images which they have learned of say nothing of others.
    """
    entries = {
        name: a
        for name, a in result.attacks.items()
        if a.auc.known and not a.known_members
    }
    apart = controls.apart(result, APART)
    return {
        name: _case(a, titles.get(name, name), apart, len(entries))
        for name, a in entries.items()
    }


def _case(a: AttackResult, title: str, apart: bool, looks: int) -> _Case:
    value, low, high = a.auc.interval
    mirror = (1 - value, 1 - high, 1 - low)
    few = min(a.members, a.nonmembers) < FEWEST
    turned = not few and controls.widened_low(mirror, looks) > 0.5
    auc, tpr = (mirror, a.mirrored) if turned else ((value, low, high), a.tpr_at_fpr)
    unshown = not turned and controls.beaten(a, looks) is False
    sizes = a.members, a.nonmembers
    return _Case(title, a.access, *sizes, auc, tpr, turned, unshown, apart, looks)


def _kind(cases: Sequence[_Case]) -> Kind:
    enough = [case for case in cases if case.enough]
    if not enough:
        return "unclear"
    if any(case.strong for case in enough):
        return "strong"
    if any(case.shown for case in enough):
        return "partial"
    if any(case.above_chance for case in enough):
        return "looks"
    return "unclear" if any(case.reaches_far for case in cases) else "chance"


def _pairs(case: _Case) -> str:
    """The AUC in words: how often a member wins against a non-member."""
    value, low, high = case.auc
    return (
        f"{share(value)} of the time (95{SPACE}% interval "
        f"{100 * low:.1f}{DASH}{100 * high:.1f}{SPACE}%; "
        f"guessing gives 50{SPACE}%)"
    )


def _recognised(case: _Case, whom: str) -> str:
    """TPR at the rate to quote, in words; empty where no rate is resolvable."""
    if case.quoted is None:
        return ""
    value, low, high, rate = case.quoted
    return (
        f"recognises {share(value)} of the training images (95{SPACE}% interval "
        f"{100 * low:.1f}{DASH}{100 * high:.1f}{SPACE}%, n{SPACE}={SPACE}"
        f"{case.members:,}) while wrongly accusing at most {level(rate)} of {whom}"
    )


def _strong(case: _Case) -> str:
    shown = _recognised(case, "the images the model never saw")
    return f"An attacker {case.holder} {shown} (n{SPACE}={SPACE}{case.nonmembers:,})."


def _partial(case: _Case) -> str:
    text = (
        f"Shown one training image and one other, an attacker {case.holder} picks the "
        f"training image {_pairs(case)}"
    )
    shown = _recognised(case, "the others")
    if not shown:
        return (
            f"{text}, from {case.members:,} training and {case.nonmembers:,} other "
            "images."
        )
    return f"{text}, and {shown} (n{SPACE}={SPACE}{case.nonmembers:,})."


def _chance(case: _Case) -> str:
    one = case.looks == 1
    who = "The attack" if one else f"None of the {case.looks} attacks"
    return (
        f"{who} {'does not tell' if one else 'tells'} training images from others "
        "better than guessing: shown one of each, the strongest "
        f"({case.title}) picks the training image {_pairs(case)}, measured on "
        f"{case.members:,} training and {case.nonmembers:,} other images."
    )


def _unclear(case: _Case) -> str:
    value, low, high = case.auc
    return (
        f"With {case.members:,} training and {case.nonmembers:,} other images the "
        "result is too uncertain to call: the AUC of the strongest attack "
        f"({case.title}) is {unit(value)}, 95{SPACE}% interval {unit(low)}{DASH}"
        f"{unit(high)}, where 0.5 is guessing."
    )


_MEANING: dict[Kind, str] = {
    "strong": (
        "Whoever has that access can tell, image by image, what this model was "
        "trained on: if that is sensitive, do not give the model away as it is, but "
        "retrain it on more images without duplicates, for fewer steps, or with "
        "differential privacy, and audit it again."
    ),
    "partial": (
        "Membership leaks, though few images can be accused with confidence: if "
        "membership is sensitive, train for fewer steps, on more images or with "
        "differential privacy before releasing the model, and audit it again."
    ),
    "looks": (
        "These groups can be told apart without the model, and no attack is shown to "
        "find more: this split cannot say whether the model gives anything away. "
        "Choose non-members that look like the training images (score-mia sanitise "
        "tries), and audit it again."
    ),
    "chance": (
        "These attacks found no leak of the size this many images can show; that is "
        "evidence, not proof, because a stronger attack or a larger audit may still "
        "find one."
    ),
    "unclear": (
        "Neither a leak nor its absence can be claimed: audit again with more images, "
        f"at least 100 of either group, and 1,000 non-members to resolve a 0.1{SPACE}% "
        "false-positive rate."
    ),
}

_PERHAPS = (
    "Either membership leaks a little or these images differ by themselves, and they "
    "are too few to say which: audit again with more of them, and until then treat it "
    "as a leak if membership is sensitive."
)

_WRONG_SIGN = (
    "The two groups are told apart, so this is no all-clear: either membership leaks "
    "with the wrong sign, which anyone can turn round, or the sign of a signal, the "
    "split or the data are at fault; find out which before releasing the model, and "
    "audit it again."
)


def _basis(looks: int) -> str:
    rates = " or ".join(
        f"{level(low)} at {level(rate)} FPR" for rate, low in STRONG.items()
    )
    many = (
        f" The strongest of {looks} attacks is quoted; to allow for that search, its "
        "AUC interval is widened before it is held against 0.5."
        if looks > 1
        else ""
    )
    return (
        "Decided on intervals: “Yes” if the lower end of the true-positive rate "
        f"reaches {rates}; “Partly” if the AUC interval lies above 0.5 (one that lies "
        "below 0.5 is read the other way round); “Cannot tell” in place of either if a "
        f"blind classifier tells the groups apart (p < {APART}) and no attack is shown "
        "to exceed it; “Not enough "
        f"data” below {FEWEST} images of either group, or if the interval includes 0.5 "
        f"and reaches beyond {EXCLUDED} or below {1 - EXCLUDED:.2f}; else “Not "
        f"found”.{many}"
    )
