"""How good the target's samples are, and which snapshot of it is attacked.

    samples/step-001200-seed-0/     parts of the samples of one target (sampling.kept)
    quality/DIGEST.npz              features of a block of images by one encoder
    quality.json                    distances of the attacked target's samples
    selection.json                  the same for each snapshot, and which was chosen

The samples a snapshot is chosen by are never those its quality is reported on: the
chosen one's luck is not counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.auditing.work import Work
from score_mia.check import require
from score_mia.checkpoint import describe, target_digest
from score_mia.conditions import OWN
from score_mia.encoders import Encoder, encode, frechet_name
from score_mia.files import digest, load_npz, load_sealed, save_npz, save_sealed
from score_mia.metrics.image import frechet_distance, kid
from score_mia.progress import Progress
from score_mia.sampling import as_picture, generate_kept
from score_mia.target import Target

_BLOCK = 512
"""Images whose features are one file: the unit of resumption."""


def samples(
    work: Work, step: int, target: Target, count: int, *, first: int = 0, seed: int
) -> np.ndarray:
    """Samples uint8 [count, h, w, c] of one target of the run, drawn once and kept.

    Args:
      work: the run.
      step: the target's training step, which names the folder.
      target: the target.
      count: how many.
      first: number of the first.
      seed: of the samples.
    """
    return generate_kept(
        work.folder / "samples" / f"step-{step:06d}-seed-{seed}",
        target.denoiser,
        seed,
        count,
        work.source.shape,
        work.plan.sampler,
        first=first,
        tile=work.plan.engine.tile,
        devices=work.plan.engine.devices,
        conditions=_conditions(work, first, count),
        facts={"target": target_digest(target)},
        label=f"samples of step {step:,}",
    )


def choose(work: Work) -> Mapping[str, Any] | None:
    """Choose the target to attack where the config leaves that to its quality.

    Returns:
      What selection.json says; None where the config names the target.
    """
    plan = work.plan
    metric, config = plan.target.metric, plan.quality
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
    members = _features(work, _pictures(work, work.split.members), "members")
    found: list[dict[str, Any]] = []
    for step in plan.snapshots:
        target = work.load(step)
        drawn = samples(
            work, step, target, config.samples, first=config.samples, seed=_seed(work)
        )
        made = _features(work, drawn, f"step {step:,}")
        found.append({"step": step, **_distances(made, members, plan.report.level)})
    best = min(found, key=lambda entry: (entry[metric]["value"], entry["step"]))
    save_sealed(path, {**facts, "chosen": best["step"], "candidates": found})
    return load_sealed(path)


def measure(work: Work) -> Mapping[str, Any] | None:
    """Distances of the attacked target's samples to members and to non-members.

    Both groups have the same n, so that their Fréchet distances can be compared, and
    the distance between the two says what there is to expect of perfect samples.

    Returns:
      What quality.json says; None where the config asks for none.
    """
    config = work.plan.quality
    if config is None:
        return None
    path = work.folder / "quality.json"
    facts = {**_decided(work), "target": target_digest(work.target)}
    if (kept := _kept(path, _QUALITY, facts)) is not None:
        return kept
    drawn = samples(work, work.step, work.target, config.samples, seed=_seed(work))
    inside, outside = _reference(work)
    made = _features(work, drawn, "samples")
    members = _features(work, _pictures(work, inside), "members")
    strangers = _features(work, _pictures(work, outside), "non-members")
    level = work.plan.report.level
    save_sealed(
        path,
        {
            **facts,
            "step": describe(work.target_folder)["provenance"]["step"],
            "features": made.shape[1],
            "network_evaluations_per_sample": work.plan.sampler.evaluations(
                work.plan.sde
            ),
            "members": _distances(made, members, level),
            "nonmembers": _distances(made, strangers, level),
            "members_to_nonmembers": _distances(members, strangers, level),
        },
    )
    return load_sealed(path)


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
        "seed": _seed(work),
        "audit_seed": work.plan.seed,
        "samples": config.samples,
        "reference": config.reference,
        "sampler": work.plan.config["sampler"],
        "level": work.plan.report.level,
    }


def _kept(
    path: Path, shape: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What a file says, if there is one and the same facts decided it."""
    if not path.exists():
        return None
    remedy = "delete it and run again: samples and features are kept"
    kept = load_sealed(path, shape, remedy=remedy)
    same = all(kept.get(k) == v for k, v in json.loads(json.dumps(facts)).items())
    return kept if same else None


def _seed(work: Work) -> int:
    config = work.plan.quality
    own = None if config is None else config.seed
    return work.plan.seed if own is None else own


def _distances(a: np.ndarray, b: np.ndarray, level: float) -> dict[str, Any]:
    return {
        "kid": kid(a, b, level=level).to_json(),
        "frechet": frechet_distance(a, b).to_json(),
    }


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


def _pictures(work: Work, ids: np.ndarray) -> np.ndarray:
    """Images of the source as a picture file has them, like the samples."""
    blocks = (ids[i : i + _BLOCK] for i in range(0, len(ids), _BLOCK))
    return np.concatenate([as_picture(work.source.images(block)) for block in blocks])


def _features(work: Work, pictures: np.ndarray, label: str) -> np.ndarray:
    """Features [n, d] of pictures uint8 [n, h, w, c], kept block by block.

    A block's file is named by what is in it: pixels and encoder.
    """
    assert work.plan.quality is not None
    encoder, folder = work.plan.quality.encoder, work.folder / "quality"
    blocks = [pictures[i : i + _BLOCK] for i in range(0, len(pictures), _BLOCK)]
    paths = [folder / f"{digest(encoder.fingerprint, block)}.npz" for block in blocks]
    missing = [k for k, path in enumerate(paths) if not path.exists()]
    if missing:
        done = len(pictures) - sum(len(blocks[k]) for k in missing)
        name = f"{encoder.name} of {label}"
        with Progress(name, len(pictures), "images", done) as progress:
            for k in missing:
                _encode(encoder, blocks[k], paths[k])
                progress.advance(len(blocks[k]))
    return np.concatenate(
        [_read_features(p, len(b)) for p, b in zip(paths, blocks, strict=True)]
    )


def _read_features(path: Path, rows: int) -> np.ndarray:
    remedy = "delete it and run again: only these features are computed again"
    parts = load_npz(path, ("features", "of"), remedy=remedy)
    features = parts["features"]
    require(
        str(parts["of"]) == path.stem and features.ndim == 2 and len(features) == rows,
        f"{path}",
        "holds features of other images",
        remedy,
    )
    return features


def _encode(encoder: Encoder, pictures: np.ndarray, path: Path) -> None:
    features = encode(encoder, pictures.astype(np.float32) / np.float32(255))
    require(
        features.ndim == 2 and len(features) == len(pictures),
        f"encoder {encoder.name!r}",
        f"returned features of shape {features.shape} for {len(pictures)} images",
        "let it return one row per image",
    )
    features = np.asarray(features, np.float32)
    save_npz(path, features=features, of=np.asarray(path.stem))


def _conditions(work: Work, first: int, count: int) -> Any:
    """What to sample with: the members' own conditions, in turn."""
    members = work.split.members
    turns = members[np.arange(first, first + count) % len(members)]
    return work.conditions(turns).get(OWN)
