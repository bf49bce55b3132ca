"""What could make an audit's numbers mean less than they seem: checked and reported.

Near-duplicates across the split, a classifier that never saw the model, and the error
of the likelihood's grid. Results are kept in checks.json.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks.likelihood import Likelihood
from score_mia.audit.work import Work
from score_mia.data.sanitise import blind, near_duplicates
from score_mia.files import load_json, save_json
from score_mia.likelihood import Adaptive, grid_error
from score_mia.metrics.intervals import evaluate


@dataclasses.dataclass(frozen=True)
class Checks:
    """What the checks found, in words.

    Attributes:
      warnings: what makes the audit's numbers less trustworthy.
      notes: attack name -> lines about its own accuracy.
      controls: entries for metrics.json: the blind classifier's AUC.
    """

    warnings: tuple[str, ...]
    notes: dict[str, tuple[str, ...]]
    controls: dict[str, Any]


def checks(work: Work) -> Checks:
    """Run the checks, or read what an earlier run found."""
    path = work.folder / "checks.json"
    if not path.exists():
        save_json(path, _run(work))
    found = load_json(path)
    duplicates, outside = found["near_duplicates"], found["blind"]
    warnings = []
    if duplicates["pairs"]:
        warnings.append(
            f"{duplicates['nonmembers']} non-members nearly repeat a member "
            f"({duplicates['exact_pairs']} pairs are identical, RMSE below "
            f"{duplicates['threshold']:.3f}): they pull every attack towards chance."
        )
    auc = outside["auc"]
    if auc["low"] > 0.5:
        warnings.append(
            "A classifier that never saw the model tells members from non-members with "
            f"AUC {auc['value']:.2f} [{auc['low']:.2f}, {auc['high']:.2f}]: the two "
            "groups differ by themselves, and attacks may only be showing that."
        )
    notes: dict[str, tuple[str, ...]] = {
        n: (line,) for n, line in found["grid"].items()
    }
    return Checks(tuple(warnings), notes, {"blind": outside})


def _run(work: Work) -> dict[str, Any]:
    plan, split = work.plan, work.split
    duplicates = near_duplicates(work.source, split, plan.report.near_duplicates)
    record = blind(work.source, split, seed=plan.seed)
    entry = evaluate(
        record.column("blind").astype(float),
        record.member,
        level=plan.report.level,
        replicates=plan.report.replicates,
        seed=plan.seed,
    )
    return {
        "near_duplicates": duplicates.summary(),
        "blind": {
            "auc": entry["auc"],
            "members": int(record.member.sum()),
            "nonmembers": int((~record.member).sum()),
        },
        "grid": _grid(work),
    }


def _grid(work: Work) -> dict[str, str]:
    """For each likelihood attack, the measured error of its grid in words."""
    count, split = work.plan.report.grid_check, work.split
    lines = {}
    for attack in work.plan.attacks:
        signal = attack.signal
        if not isinstance(signal, Likelihood) or signal.solver != "fixed" or not count:
            continue
        half = -(-count // 2)
        ids = np.asarray([*split.members[:half], *split.nonmembers[: count - half]])
        error = grid_error(
            work.target,
            jnp.asarray(work.source.images(ids)),
            jax.random.key(work.plan.seed),
            solver=signal.integrator(),
            reference=Adaptive(),
            condition=jnp.asarray(work.conditions(ids)) if work.conditional else None,
        )
        lines[attack.name] = (
            f"Grid of {error.grid_evaluations:.0f} evaluations against an adaptive "
            f"solve (rtol = atol = 1e-5, {error.reference_evaluations:.0f} evaluations)"
            f", same probe, {len(ids)} images: |difference| {error.mean:.4f} bits/dim "
            f"on average, {error.max:.4f} at most."
        )
    return lines
