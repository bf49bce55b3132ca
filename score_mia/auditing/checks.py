"""What could make an audit's numbers mean less than they seem: checked and reported.

Near-duplicates across the split and among the members, a classifier that never saw the
model, how far apart the two groups are by themselves, and the error of the likelihood's
grid. Results are kept in checks.json, sealed, with what they were made from: a changed
digit is refused, and the checks of another split, target or setting are made anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.attacks.protocol import SelfChecking
from score_mia.auditing.work import Work
from score_mia.data.sanitise import blind_features, boxed, near_duplicates, repeats
from score_mia.encoders import ENCODERS, encode
from score_mia.files import load_sealed, save_sealed
from score_mia.metrics.crossfit import cross_fitted
from score_mia.metrics.image import kid
from score_mia.metrics.means import differ
from score_mia.registry import make
from score_mia.results import Controls, GridError
from score_mia.typed import from_json, to_json
from score_mia.views import view

VERSION = 5
"""Of the checks themselves: those of an older version are made anew."""

_SHIFT_IMAGES = 2000
"""Most images of either group whose distance is measured."""


@dataclasses.dataclass(frozen=True)
class BlindScores:
    """The blind classifier's cross-fitted scores, and the excess of their variance."""

    ids: tuple[int, ...]
    scores: tuple[float, ...]
    excess: float


@dataclasses.dataclass(frozen=True)
class Checks:
    """What the checks found, in words.

    Attributes:
      notes: attack name -> lines about its own accuracy.
      controls: what so few images cannot show is left out.
      accuracy: attack name -> its grid's error against a tight solve.
      blind: scores of the blind classifier, if there is one.
    """

    notes: dict[str, tuple[str, ...]]
    controls: Controls
    accuracy: dict[str, GridError]
    blind: BlindScores | None = None


def checks(work: Work) -> Checks:
    """Run the checks, or read what an earlier run found.

    Raises:
      UserError: checks.json is damaged or was changed.
    """
    path, facts = work.folder / "checks.json", _facts(work)
    kept = load_sealed(path) if path.exists() else {}
    if kept.get("facts") != facts:
        save_sealed(path, {"facts": facts, **_run(work)})
        kept = load_sealed(path)
    notes: dict[str, tuple[str, ...]]
    notes = {name: (_grid_note(error),) for name, error in kept["grid"].items()}
    accuracy = {
        name: from_json(GridError, error, str(path), f"grid.{name}")
        for name, error in kept["grid"].items()
        if error["mean"] is not None
    }
    controls, blind = from_json(Controls, kept, str(path)), kept.get("blind")
    if blind is not None:
        blind = from_json(BlindScores, blind, str(path))
    return Checks(notes, controls, accuracy, blind)


def _facts(work: Work) -> dict[str, Any]:
    """All that decides what the checks find."""
    report = work.plan.report
    return {
        "version": VERSION,
        "split": work.split.fingerprint,
        "source": work.source.digest,
        "target": work.digest,
        "seed": work.plan.seed,
        "level": report.level,
        "near_duplicates": report.near_duplicates,
        "grid": [repr(signal) for signal in _gridded(work).values()],
        "grid_check": report.grid_check,
        "blind": "blind" in work.plan.controls,
    }


def _run(work: Work) -> dict[str, Any]:
    source, threshold = work.source, work.plan.report.near_duplicates
    members = work.split.members
    inside = boxed(source, members)
    across = near_duplicates(source, work.split, threshold, inside=inside)
    again = repeats(source, members, threshold, inside=inside)
    return {
        "near_duplicates": {**across.summary(), "listed": across.listed(source)},
        "repeats": {**again.summary(), "listed": again.listed(source)},
        "blind": _blind(work),
        "shift": _shift(work),
        "grid": _grid(work),
    }


def _blind(work: Work) -> dict[str, Any] | None:
    """The classifier on all images of the split; None if a class has one image."""
    read = work.split.member
    few = min(int(read.sum()), int((~read).sum())) < 2
    if few or "blind" not in work.plan.controls:
        return None
    features = blind_features(work.source, work.split, seed=work.plan.seed)
    member = features.member
    assert member is not None
    seed, values = work.plan.seed, features.matrix()
    result = cross_fitted(values, member, level=work.plan.report.level, seed=seed)
    return {
        "auc": to_json(result.auc),
        "p_value": differ(values, member, seed=seed),
        "members": int(member.sum()),
        "nonmembers": int((~member).sum()),
        "ids": features.ids.tolist(),
        "scores": result.standardised.tolist(),
        "excess": result.excess,
    }


def _shift(work: Work) -> dict[str, Any] | None:
    """KID between the images that attacks are judged on; None with fewer than three.

    By untrained filters: they need no file, see texture and coarse structure, and two
    halves of one set have KID 0 by any encoder.
    """
    split = work.split
    encoder = make("encoder", ENCODERS, {"name": "random_conv"})
    generator = np.random.RandomState(work.plan.seed)
    groups = []
    for rows in (split.member, ~split.member):
        ids = generator.permutation(split.ids[rows & ~split.reference])[:_SHIFT_IMAGES]
        if len(ids) < 3:
            return None
        groups.append(encode(encoder, work.source.images(np.sort(ids))))
    distance = kid(*groups, level=work.plan.report.level)
    return {"encoder": encoder.name, "kid": to_json(distance)}


def _grid(work: Work) -> dict[str, Mapping[str, Any]]:
    """For each attack whose signal can tell, its grid's error in bits/dim."""
    gridded = _gridded(work)
    if not gridded:
        return {}
    count, split = work.plan.report.grid_check, work.split
    half = -(-count // 2)
    ids = np.asarray([*split.members[:half], *split.nonmembers[: count - half]])
    conditions = jax.tree.map(jnp.asarray, work.conditions(ids))
    key, images = jax.random.key(work.plan.seed), jnp.asarray(work.source.images(ids))
    service = work.plan.service(work.source.shape)
    measured = {}
    for name, signal in gridded.items():
        model = view(work.target, signal.access, service)
        error = signal.self_check(model, images, conditions, key)
        if error is not None:
            measured[name] = error
    return measured


def _grid_note(error: Mapping[str, Any]) -> str:
    """A measured error in words."""
    if error["mean"] is None:
        return (
            f"The grid of {error['evaluations']:.0f} evaluations could not be checked: "
            f"the adaptive solve gave no number for one of {error['images']} images."
        )
    return (
        f"Grid of {error['evaluations']:.0f} evaluations against an adaptive solve "
        f"(rtol = atol = 1e-5, {error['reference_evaluations']:.0f} evaluations), same "
        f"probe, {error['images']} images: |difference| {error['mean']:.4f} bits/dim "
        f"on average, {error['max']:.4f} at most."
    )


def _gridded(work: Work) -> dict[str, SelfChecking]:
    """The attacks whose grid is checked."""
    if not work.plan.report.grid_check:
        return {}
    return {
        attack.name: signal
        for attack in work.plan.attacks
        for signal in attack.signals.values()
        if isinstance(signal, SelfChecking)
    }
