"""What a report says of differential privacy: guarantee, ceiling, self-test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from score_mia.metrics.epsilon import joint_ceiling
from score_mia.report.text import SPACE

ADJACENCIES = {
    "zero_out": "one image zeroed out",
    "add_or_remove": "one image added or removed",
    "replace": "one image replaced by another",
}
CONTROLS = {
    "clip_only": "clipping without noise, a control: no guarantee",
    "noise_only": "noise without clipping, a control: no guarantee",
}


def facts(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The group "Privacy" of the page; empty for a target trained without."""
    p = _privacy(metrics)
    if p is None:
        return {}
    told = {
        "training": CONTROLS.get(p["control"], "DP-SGD"),
        "epsilon, PLD (tight)": _epsilon(p["epsilon_pld"]),
        "epsilon, RDP (looser, in most papers)": _epsilon(p["epsilon_rdp"]),
        "delta": f"{p['delta']:g}",
        "neighbours differ by": ADJACENCIES[p["adjacency"]],
        "sampling": f"Poisson, {p['expected_batch']:g} of {p['rows']:,} images a step "
        f"on average, {p['capacity']:,} at most",
        "sampling rate": f"{p['rate']:g}",
        "noise multiplier": f"{p['noise_multiplier']:g}",
        "clipping norm": "none" if p["control"] == "noise_only" else f"{p['clip']:g}",
        "steps": f"{p['steps']:,}",
        "draws per image and step": str(p["draws"]),
    }
    return told


def sentence(metrics: Mapping[str, Any]) -> str:
    """All of the guarantee on one line; empty for a target trained without."""
    p = _privacy(metrics)
    if p is None:
        return ""
    given = (
        CONTROLS[p["control"]]
        if p["control"]
        else f"DP-SGD, epsilon = {_epsilon(p['epsilon_pld'])} by PLD and "
        f"{_epsilon(p['epsilon_rdp'])} by RDP at delta = {p['delta']:g}"
    )
    return (
        f"Trained with {given}: neighbours differ by {ADJACENCIES[p['adjacency']]}, "
        f"Poisson sampling at rate {p['rate']:g} (at most {p['capacity']:,} of "
        f"{p['rows']:,} images), noise multiplier {p['noise_multiplier']:g}, clipping "
        f"norm {p['clip']:g}, {p['steps']:,} steps."
    )


def bound(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """An attack's lower bound on epsilon, and the largest its images could show."""
    found = entry.get("epsilon_lower_bound")
    if found is None:
        return None
    return f"{found['value']:.2f}", f"{found['largest']:.2f}"


def remark(entry: Mapping[str, Any]) -> list[str]:
    """The bound in words, for the page."""
    numbers = bound(entry)
    if numbers is None:
        return []
    found = entry["epsilon_lower_bound"]
    return [
        f"Empirical epsilon: at least {numbers[0]} at delta = {found['delta']:g} "
        f"({100 * found['level']:g}{SPACE}%, every threshold tried and paid for; takes "
        f"images for independent trials). A perfect attack on as many images would "
        f"show {numbers[1]}."
    ]


def overruns(metrics: Mapping[str, Any]) -> list[str]:
    """The self-test: no attack may show more than training was accounted for."""
    p = _privacy(metrics)
    if p is None or p["epsilon_pld"] is None:
        return []
    lines = []
    for name, entry in metrics["attacks"].items():
        found = entry.get("epsilon_lower_bound")
        if found is not None and found["value"] > p["epsilon_pld"]:
            lines.append(
                f"{name}: shows epsilon of at least {found['value']:.2f} at delta = "
                f"{found['delta']:g}, more than the accounted "
                f"{_epsilon(p['epsilon_pld'])}. One of the two is wrong: suspect the "
                "split (groups that differ by themselves, or near-duplicates among "
                "the members), then the private training itself."
            )
    return lines


def ceiling(
    metrics: Mapping[str, Any], fpr: Float[np.ndarray, " g"]
) -> Float[np.ndarray, " g"] | None:
    """Largest TPR that the guarantee leaves to any attack; None without guarantee."""
    p = _privacy(metrics)
    if p is None or p["epsilon_pld"] is None:
        return None
    profile = (np.asarray(p["profile"][key]) for key in ("epsilon", "delta"))
    return joint_ceiling(fpr, *profile)


def ceiling_label(metrics: Mapping[str, Any]) -> str:
    """The ceiling's name in a legend."""
    p = _privacy(metrics)
    assert p is not None
    return f"most that epsilon {_epsilon(p['epsilon_pld'])} allows"


def _privacy(metrics: Mapping[str, Any]) -> Mapping[str, Any] | None:
    return metrics.get("target", {}).get("privacy")


def _epsilon(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
