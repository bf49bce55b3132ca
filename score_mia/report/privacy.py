"""What a report says of differential privacy: guarantee, ceiling, self-test."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from score_mia.metrics.epsilon import joint_ceiling
from score_mia.report.text import SPACE
from score_mia.results import AttackResult, AuditResult, Privacy

ADJACENCIES = {
    "zero_out": "one image zeroed out",
    "add_or_remove": "one image added or removed",
    "replace": "one image replaced by another",
}
CONTROLS = {
    "clip_only": "clipping without noise, a control: no guarantee",
    "noise_only": "noise without clipping, a control: no guarantee",
}


def facts(p: Privacy | None) -> dict[str, str]:
    """The group "Privacy" of the page; empty for a target trained without."""
    if p is None:
        return {}
    return {
        "training": CONTROLS.get(p.control, "DP-SGD"),
        "epsilon, PLD (tight)": _epsilon(p.epsilon_pld),
        "epsilon, RDP (looser, in most papers)": _epsilon(p.epsilon_rdp),
        "delta": f"{p.delta:g}",
        "neighbours differ by": ADJACENCIES[p.adjacency],
        "sampling": f"Poisson, {p.expected_batch:g} of {p.rows:,} images a step on "
        f"average, {p.capacity:,} at most",
        "sampling rate": f"{p.rate:g}",
        "noise multiplier": f"{p.noise_multiplier:g}",
        "clipping norm": "none" if p.control == "noise_only" else f"{p.clip:g}",
        "steps": f"{p.steps:,}",
        "draws per image and step": str(p.draws),
    }


def sentence(p: Privacy | None) -> str:
    """All of the guarantee on one line; empty for a target trained without."""
    if p is None:
        return ""
    given = (
        CONTROLS[p.control]
        if p.control
        else f"DP-SGD, epsilon = {_epsilon(p.epsilon_pld)} by PLD and "
        f"{_epsilon(p.epsilon_rdp)} by RDP at delta = {p.delta:g}"
    )
    return (
        f"Trained with {given}: neighbours differ by {ADJACENCIES[p.adjacency]}, "
        f"Poisson sampling at rate {p.rate:g} (at most {p.capacity:,} of {p.rows:,} "
        f"images), noise multiplier {p.noise_multiplier:g}, clipping norm {p.clip:g}, "
        f"{p.steps:,} steps."
    )


def bound(entry: AttackResult) -> tuple[str, str] | None:
    """An attack's lower bound on epsilon, and the largest its images could show."""
    shown = entry.epsilon_lower_bound
    return None if shown is None else (f"{shown.value:.2f}", f"{shown.largest:.2f}")


def remark(entry: AttackResult) -> list[str]:
    """The bound in words, for the page."""
    shown = entry.epsilon_lower_bound
    if shown is None:
        return []
    return [
        f"Empirical epsilon: at least {shown.value:.2f} at delta = {shown.delta:g} "
        f"({100 * shown.level:g}{SPACE}%, every threshold tried and paid for; takes "
        f"images for independent trials). A perfect attack on as many images would "
        f"show {shown.largest:.2f}."
    ]


def overruns(result: AuditResult) -> list[str]:
    """The self-test: no attack may show more than training was accounted for."""
    p = result.target.privacy
    if p is None or p.epsilon_pld is None:
        return []
    return [
        f"{name}: shows epsilon of at least {shown.value:.2f} at delta = "
        f"{shown.delta:g}, more than the accounted {_epsilon(p.epsilon_pld)}. One of "
        "the two is wrong: suspect the split (groups that differ by themselves, or "
        "near-duplicates among the members), then the private training itself."
        for name, entry in result.attacks.items()
        if (shown := entry.epsilon_lower_bound) and shown.value > p.epsilon_pld
    ]


def ceiling(
    p: Privacy | None, fpr: Float[np.ndarray, " g"]
) -> Float[np.ndarray, " g"] | None:
    """Largest TPR that the guarantee leaves to any attack; None without guarantee."""
    if p is None or p.epsilon_pld is None:
        return None
    profile = p.profile
    return joint_ceiling(fpr, np.asarray(profile.epsilon), np.asarray(profile.delta))


def ceiling_label(p: Privacy | None) -> str:
    """The ceiling's name in a legend."""
    return f"most that epsilon {_epsilon(p.epsilon_pld if p else None)} allows"


def _epsilon(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
