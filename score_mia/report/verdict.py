"""The verdict: two sentences that the owner of a model understands.

Decided on intervals only, never on point estimates. The quoted attack is the strongest
of those run; because looking for the strongest of k is itself a search, "better than
chance" is claimed only if the interval, widened for k looks (Bonferroni, on the normal
scale), excludes chance.

An interval that lies wholly *below* chance is no all-clear: the scores tell the groups
apart, with the wrong sign. Such an attack is judged on its mirrored scores, and the
words say so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, Literal

from score_mia.report.text import (
    DASH,
    SPACE,
    counts,
    known,
    level,
    share,
    unit,
)

Kind = Literal["strong", "partial", "chance", "unclear"]

FEWEST = 10
"""With fewer members or non-members than this nothing is claimed."""
EXCLUDED = 0.65
"""An AUC interval that crosses 0.5 and reaches beyond this, or as far below 0.5, rules
nothing out."""
STRONG = {0.01: 0.1, 0.1: 0.5}
"""A leak is strong if the TPR's lower end at one of these FPRs reaches the share."""

WORDS: dict[Kind, str] = {
    "strong": "Yes",
    "partial": "Partly",
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
      kind: which of the four cases holds; `word` is its short answer.
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


def verdict(
    metrics: Mapping[str, Any],
    titles: Mapping[str, str] | None = None,
    access: Mapping[str, str] | None = None,
) -> Verdict:
    """The verdict on metrics.json; titles and access by attack name, if known."""
    titles, access = titles or {}, access or {}
    entries = _entries(metrics)
    if not entries:
        return Verdict(
            "unclear",
            "No attack gave a result, so nothing can be said about this model."
            + _failed(metrics),
            "Run the audit with at least one attack before deciding anything.",
        )
    kind = _kind(metrics, entries)
    name = max(entries, key=lambda key: _strength(entries[key], len(entries)))
    entry = entries[name]
    title = titles.get(name, name)
    holder = HOLDERS.get(access.get(name, ""), "who has what the attack needs")
    if _turned(entry):
        holder += (
            f", reading the scores of {title} the other way round (they rank training "
            "images below the others),"
        )
    finding = {
        "strong": _strong,
        "partial": _partial,
        "chance": _chance,
        "unclear": _unclear,
    }[kind](metrics, entries, entry, title, holder)
    finding += _failed(metrics)
    quoted = None if kind == "unclear" else _quoted(entry)
    meaning = _WRONG_SIGN if _turned(entry) else _MEANING[kind]
    return Verdict(kind, finding, meaning, name, _basis(len(entries)), quoted)


def reversals(metrics: Mapping[str, Any]) -> list[str]:
    """A warning for each attack whose AUC lies below 0.5 for certain."""
    return [
        f"{name}: ranks training images below the others (AUC "
        f"{unit(1 - entry['auc']['value'])}, 95{SPACE}% interval "
        f"{unit(1 - entry['auc']['high'])}{DASH}{unit(1 - entry['auc']['low'])}). That "
        "is a leak with the wrong sign, or a mistake in the signal, the split or the "
        "data; it is no sign of safety."
        for name, entry in _entries(metrics).items()
        if _turned(entry)
    ]


def _failed(metrics: Mapping[str, Any]) -> str:
    """That attacks failed, for the end of a finding; empty if none did."""
    names = [n for n, e in metrics.get("attacks", {}).items() if "failed" in e]
    if not names:
        return ""
    return f" Failed, and so not part of this answer: {', '.join(names)}."


def _entries(metrics: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The attacks that gave a number; one of the wrong sign as its mirror image."""
    entries = {
        name: entry
        for name, entry in metrics.get("attacks", {}).items()
        if known(entry.get("auc"))
    }
    looks = len(entries)
    return {
        name: _mirrored(entry)
        if min(counts(metrics, entry)) >= FEWEST
        and _widened_high(entry["auc"], looks) < 0.5
        else entry
        for name, entry in entries.items()
    }


def _mirrored(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An attack's entry as its negated scores would have it."""
    auc = entry["auc"]
    flipped = {
        "value": 1 - auc["value"],
        "low": 1 - auc["high"],
        "high": 1 - auc["low"],
    }
    rates = entry.get("mirrored", {}).get("tpr_at_fpr", {})
    return {**entry, "auc": flipped, "tpr_at_fpr": rates, "turned": True}


def _turned(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("turned", False))


def _quoted(entry: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    rate = _headline(entry)
    if rate is None:
        return None
    tpr = entry["tpr_at_fpr"][_key(entry, rate)]
    return (tpr["value"], tpr["low"], tpr["high"], rate)


def _kind(metrics: Mapping[str, Any], entries: Mapping[str, Any]) -> Kind:
    enough = [e for e in entries.values() if min(counts(metrics, e)) >= FEWEST]
    if not enough:
        return "unclear"
    looks = len(entries)
    if any(_is_strong(e, looks) for e in enough):
        return "strong"
    if any(_widened_low(e["auc"], looks) > 0.5 for e in enough):
        return "partial"
    if any(_reaches_far(e["auc"]) for e in entries.values()):
        return "unclear"
    return "chance"


def _reaches_far(auc: Mapping[str, Any]) -> bool:
    """Whether an interval leaves room for a leak of this size, of either sign."""
    return auc["high"] > EXCLUDED or auc["low"] < 1 - EXCLUDED


def _is_strong(entry: Mapping[str, Any], looks: int) -> bool:
    if _widened_low(entry["auc"], looks) <= 0.5:
        return False
    return any(_reaches(entry, rate) for rate in _resolved(entry))


def _headline(entry: Mapping[str, Any]) -> float | None:
    """The FPR to quote: the lowest that shows a strong leak, else the lowest known."""
    rates = _resolved(entry)
    return next((r for r in rates if _reaches(entry, r)), rates[0] if rates else None)


def _resolved(entry: Mapping[str, Any]) -> list[float]:
    """The rates of `STRONG`, lowest first, that the non-members resolve."""
    rates = entry.get("tpr_at_fpr", {})
    keys = {rate: _key(entry, rate) for rate in STRONG}
    return [r for r, key in keys.items() if key is not None and known(rates[key])]


def _reaches(entry: Mapping[str, Any], rate: float) -> bool:
    return entry["tpr_at_fpr"][_key(entry, rate)]["low"] >= STRONG[rate]


def _key(entry: Mapping[str, Any], rate: float) -> Any:
    """The key under which metrics.json keeps this rate (keys are texts like "0.1")."""
    keys = entry.get("tpr_at_fpr", {})
    return next((k for k in keys if abs(float(k) - rate) < 1e-12), None)


def _strength(entry: Mapping[str, Any], looks: int) -> tuple[float, ...]:
    """What makes an attack the one to quote: the case it supports, then its rates."""
    quoted = _quoted(entry)
    return (
        _is_strong(entry, looks),
        _widened_low(entry["auc"], looks) > 0.5,
        quoted[1] if quoted else 0.0,
        entry["auc"]["low"],
    )


def _widened_low(estimate: Mapping[str, Any], looks: int) -> float:
    """The lower end of a 95 % interval, moved out for the best of `looks` attacks."""
    normal = NormalDist()
    factor = normal.inv_cdf(1 - 0.025 / looks) / normal.inv_cdf(0.975)
    return estimate["value"] - factor * (estimate["value"] - estimate["low"])


def _widened_high(estimate: Mapping[str, Any], looks: int) -> float:
    """The upper end likewise."""
    mirror = {"value": 1 - estimate["value"], "low": 1 - estimate["high"]}
    return 1 - _widened_low(mirror, looks)


def _interval(estimate: Mapping[str, Any], rows: int) -> str:
    low, high = 100 * estimate["low"], 100 * estimate["high"]
    return (
        f"95{SPACE}% interval {low:.1f}{DASH}{high:.1f}{SPACE}%, "
        f"n{SPACE}={SPACE}{rows:,}"
    )


def _pairs(entry: Mapping[str, Any]) -> str:
    """The AUC in words: how often a member wins against a non-member."""
    auc = entry["auc"]
    return (
        f"{share(auc['value'])} of the time (95{SPACE}% interval "
        f"{100 * auc['low']:.1f}{DASH}{100 * auc['high']:.1f}{SPACE}%; "
        f"guessing gives 50{SPACE}%)"
    )


def _recognised(entry: Mapping[str, Any], members: int, whom: str) -> str:
    """TPR at the rate to quote, in words; empty where no rate is resolvable."""
    rate = _headline(entry)
    if rate is None:
        return ""
    tpr = entry["tpr_at_fpr"][_key(entry, rate)]
    return (
        f"recognises {share(tpr['value'])} of the training images "
        f"({_interval(tpr, members)}) while wrongly accusing at most {level(rate)} of "
        f"{whom}"
    )


def _strong(metrics, entries, entry, title, holder) -> str:
    members, nonmembers = counts(metrics, entry)
    found = _recognised(entry, members, "the images the model never saw")
    return f"An attacker {holder} {found} (n{SPACE}={SPACE}{nonmembers:,})."


def _partial(metrics, entries, entry, title, holder) -> str:
    members, nonmembers = counts(metrics, entry)
    text = (
        f"Shown one training image and one other, an attacker {holder} picks the "
        f"training image {_pairs(entry)}"
    )
    found = _recognised(entry, members, "the others")
    if not found:
        return f"{text}, from {members:,} training and {nonmembers:,} other images."
    return f"{text}, and {found} (n{SPACE}={SPACE}{nonmembers:,})."


def _chance(metrics, entries, entry, title, holder) -> str:
    members, nonmembers = counts(metrics, entry)
    who = "The attack" if len(entries) == 1 else f"None of the {len(entries)} attacks"
    verb = "does not tell" if len(entries) == 1 else "tells"
    return (
        f"{who} {verb} training images from others better than guessing: shown one of "
        f"each, the strongest ({title}) picks the training image {_pairs(entry)}, "
        f"measured on {members:,} training and {nonmembers:,} other images."
    )


def _unclear(metrics, entries, entry, title, holder) -> str:
    members, nonmembers = counts(metrics, entry)
    auc = entry["auc"]
    return (
        f"With {members:,} training and {nonmembers:,} other images the result is too "
        f"uncertain to call: the AUC of the strongest attack ({title}) is "
        f"{unit(auc['value'])}, 95{SPACE}% interval {unit(auc['low'])}{DASH}"
        f"{unit(auc['high'])}, where 0.5 is guessing."
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
        "below 0.5 is read the other way round); “Not enough "
        f"data” below {FEWEST} images of either group, or if the interval includes 0.5 "
        f"and reaches beyond {EXCLUDED} or below {1 - EXCLUDED:.2f}; else “Not "
        f"found”.{many}"
    )
