"""How good the target's samples are, and which snapshot of it is attacked.

    samples/step-001200-seed-0/     samples of one target (sampling.kept), in parts
    quality/members-DIGEST/         features of some images by one encoder, in parts
    quality.json                    distances of the attacked target's samples
    selection.json                  the same for each snapshot, and which was chosen

The samples a snapshot is chosen by are never those its quality is reported on: the
chosen one's luck is not counted twice.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.auditing.features import Features, Pictures
from score_mia.auditing.work import Work
from score_mia.checkpoint import describe, target_digest
from score_mia.conditions import OWN
from score_mia.encoders import frechet_name
from score_mia.files import Facts, load_sealed, save_sealed
from score_mia.metrics.image import closer, frechet_distance, kid
from score_mia.rows import Ids, Shards, Words
from score_mia.sampling import Samples, as_picture, guided
from score_mia.target import Target
from score_mia.typed import to_json


def samples(
    work: Work, step: int, target: Target, count: int, *, first: int = 0, seed: int
) -> Shards:
    """Samples ("images", uint8 [count, h, w, c]) of one target, drawn once and kept.

    Args:
      work: the run.
      step: the target's training step, which names the folder.
      target: the target.
      count: how many.
      first: number of the first.
      seed: of the samples.
    """
    weight = work.plan.guidance
    made_of = {"target": target_digest(target)}
    task = Samples(
        guided(target.denoiser, work.plan.known.conditioner, weight),
        work.plan.sampler,
        seed,
        work.source.shape,
        made_of if weight is None else {**made_of, "guidance": weight},
        _conditions(work),
        work.plan.engine.rows,
        work.plan.engine.devices,
        Words(f"samples of step {step:,}", "samples"),
    )
    folder = work.folder / "samples" / f"step-{step:06d}-seed-{seed}"
    return task.kept(folder, count, first=first, host=work.host)


def drawn(work: Work, count: int, seed: int | None = None) -> Shards:
    """The first `samples` of the attacked target, by the audit's seed if none is given.

    Args:
      work: the run.
      count: how many.
      seed: of the samples.
    """
    seed = work.plan.seed if seed is None else seed
    return samples(work, work.step, work.target, count, seed=seed)


def choose(work: Work) -> Facts | None:
    """Choose the target to attack where the config leaves that to its quality.

    Returns:
      What selection.json says; None where the config names the target.
    """
    plan = work.plan
    trained, config = plan.trained, plan.quality
    metric = None if trained is None else trained.metric
    if metric is None or config is None:
        return None
    work.require_trained()
    path = work.folder / "selection.json"
    folders = map(work.folder_of, plan.snapshots)
    facts = {
        **_decided(work),
        "by": metric,
        "snapshots": list(plan.snapshots),
        "targets": [describe(folder)["digest"]["ema"] for folder in folders],
    }
    if (kept := _kept(path, _SELECTION, facts)) is not None:
        return kept
    members = _of_images(work, work.split.members, "members")
    found: list[dict[str, Any]] = []
    for step in plan.snapshots:
        target = work.load(step)
        count, seed = config.samples, work.plan.quality_seed
        other = samples(work, step, target, count, first=count, seed=seed)
        made = _of_samples(work, other, f"step-{step:06d}")
        found.append({"step": step, **_distances(made, members, plan.report.level)})
    if not work.host.first:
        there = functools.partial(_kept, path, _SELECTION, facts)
        work.host.wait_for("the choice", lambda: there() is not None)
        return there()
    best = min(found, key=lambda entry: (entry[metric]["value"], entry["step"]))
    save_sealed(path, {**facts, "chosen": best["step"], "candidates": found})
    return load_sealed(path)


def measure(work: Work) -> Facts | None:
    """Distances of the attacked target's samples to members and to non-members.

    Both groups have the same n, so that their Fréchet distances can be compared, and
    the distance between the two says what there is to expect of perfect samples.

    Returns:
      What quality.json says; None where the config asks for none, and on hosts that
      only share in the rows.
    """
    config = work.plan.quality
    if config is None:
        return None
    path = work.folder / "quality.json"
    facts = {**_decided(work), "target": work.digest, "sets": _SETS}
    if (kept := _kept(path, _QUALITY, facts)) is not None:
        return kept
    own = drawn(work, config.samples, work.plan.quality_seed)
    inside, outside = _reference(work)
    made = _of_samples(work, own, "samples")
    members = _of_images(work, inside, "members")
    strangers = _of_images(work, outside, "non-members")
    if not work.host.first:
        return None
    level = work.plan.report.level
    save_sealed(
        path,
        {
            **facts,
            "step": describe(work.target_folder)["provenance"]["step"],
            "features": made.shape[1],
            "network_evaluations_per_sample": work.plan.sampler.evaluations(
                work.plan.known.sde
            ),
            "members": _distances(made, members, level),
            "nonmembers": _distances(made, strangers, level),
            "members_to_nonmembers": _distances(members, strangers, level),
            "closer": _closer(work, made, members, strangers),
        },
    )
    return load_sealed(path)


_SETS = 1
"""Version of the test of sets: a quality.json without it is made again."""

_FEWEST, _MOST = 4, 2000
"""Of either group, for that test: all pairs of images stand in its kernel matrix."""

_DISTANCES = {"kid": dict, "frechet": dict}
_SELECTION = {"chosen": int, "candidates": [{"step": int, **_DISTANCES}]}
_QUALITY = {
    **{"step": int, "features": int, "network_evaluations_per_sample": int | None},
    **dict.fromkeys(("members", "nonmembers", "members_to_nonmembers"), _DISTANCES),
}


def _decided(work: Work) -> dict[str, Any]:
    """What decides the distances, beside the target: kept with them."""
    config = work.plan.quality
    assert config is not None
    encoder = config.encoder
    return {
        "encoder": encoder.name,
        "fingerprint": encoder.fingerprint,
        "frechet_name": frechet_name(encoder),
        "split": work.split.fingerprint,
        "seed": work.plan.quality_seed,
        "audit_seed": work.plan.seed,
        "samples": config.samples,
        "reference": config.reference,
        "sampler": work.plan.config["sampler"],
        "level": work.plan.report.level,
    }


def _kept(path: Path, shape: Facts, facts: Facts) -> dict[str, Any] | None:
    """What a file says, if there is one and the same facts decided it."""
    if not path.exists():
        return None
    remedy = "delete it and run again: samples and features are kept"
    kept = load_sealed(path, shape, remedy=remedy)
    same = all(kept.get(k) == v for k, v in json.loads(json.dumps(facts)).items())
    return kept if same else None


def _distances(a: np.ndarray, b: np.ndarray, level: float) -> dict[str, Any]:
    return {
        "kid": to_json(kid(a, b, level=level)),
        "frechet": to_json(frechet_distance(a, b)),
    }


def _closer(
    work: Work, made: np.ndarray, members: np.ndarray, others: np.ndarray
) -> dict[str, Any] | None:
    """Which group the samples are nearer to as a set; None of too few images."""
    if len(others) < _FEWEST:
        return None
    random = np.random.RandomState(work.plan.seed)
    chosen = [np.sort(random.permutation(len(x))[:_MOST]) for x in (members, others)]
    inside, outside = members[chosen[0]], others[chosen[1]]
    how = {"level": work.plan.report.level, "seed": work.plan.seed}
    return to_json(closer(made, inside, outside, **how))


def _reference(work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Ids of equally many members and non-members, drawn at random."""
    config, split = work.plan.quality, work.split
    groups = (split.members, split.nonmembers)
    count = min(map(len, groups))
    if config is not None and config.reference is not None:
        count = min(count, config.reference)
    random = np.random.RandomState(work.plan.seed)
    inside, outside = (np.sort(random.permutation(ids)[:count]) for ids in groups)
    return inside, outside


def _of_images(work: Work, ids: np.ndarray, name: str) -> np.ndarray:
    """Features [n, d] of images of the source, as a picture file has them."""

    def pictures(block: np.ndarray) -> np.ndarray:
        return as_picture(work.source.images(block))

    return _features(work, ids, pictures, {"source": work.source.digest}, name)


def _of_samples(work: Work, shards: Shards, name: str) -> np.ndarray:
    """Features [n, d] of samples."""

    def pictures(block: np.ndarray) -> np.ndarray:
        return shards.take("images", block)

    return _features(work, shards.ids, pictures, {"samples": shards.made}, name)


def _features(
    work: Work, ids: np.ndarray, pictures: Pictures, of: Facts, name: str
) -> np.ndarray:
    assert work.plan.quality is not None
    encoder = work.plan.quality.encoder
    words = Words(f"{encoder.name} of {name}", "features")
    task = Features(encoder, pictures, of, words)
    return task.kept(ids, work.folder / "quality", name, work.host)


def _conditions(work: Work) -> Callable[[Ids], Any]:
    """What to sample with: the members' own conditions, in turn."""
    members = work.split.members
    return lambda ids: work.conditions(members[ids % len(members)]).get(OWN)
