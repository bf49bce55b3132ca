"""Which run a folder holds: by a digest of all that decides its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from score_mia import checkpoint
from score_mia.check import finite, require
from score_mia.files import Facts, digest
from score_mia.sde import SDE
from score_mia.train import dp
from score_mia.train.config import TrainConfig


def check_data(
    images: np.ndarray, conditions: Any, shape: tuple[int, int, int]
) -> None:
    """Refuse images and conditions that cannot be trained on."""
    ok = images.ndim == 4 and images.shape[1:] == shape and len(images) > 0
    problem = f"are not [n, {', '.join(map(str, shape))}]"
    remedy = "give at least one image of the spec's shape"
    require(ok, f"images of shape {images.shape}", problem, remedy)
    ok = images.dtype == np.float32
    remedy = "give float32 in [0, 1]"
    require(ok, f"images of dtype {images.dtype}", "are not float32", remedy)
    finite("images", images)
    low, high = float(images.min()), float(images.max())
    ok = low >= 0.0 and high <= 1.0
    remedy = "divide 8-bit values by 255"
    require(ok, f"images in [{low:.4g}, {high:.4g}]", "leave [0, 1]", remedy)
    for leaf in jax.tree.leaves(conditions):
        require(
            leaf.shape[:1] == (len(images),),
            f"conditions of shape {leaf.shape}",
            f"are not one for each of {len(images)} images",
            "give one for each image, or none",
        )


def run_identity(
    spec: Facts, config: TrainConfig, sde: SDE, images: Any, conditions: Any, *how: str
) -> str:
    """Digest of everything that decides the result; `images` may be several arrays."""
    science = config.science(sde.clock)
    told = json.dumps([spec, science], sort_keys=True, default=dict)
    given = jax.tree.leaves((images, conditions))
    return digest(told, *map(np.asarray, given), *how)


def require_same_run(folder: Path, found: Any, identity: str) -> None:
    """Refuse a folder that another run has written."""
    problem = "holds the training of another config or other data"
    remedy = "choose another workdir, or delete that folder to train anew"
    require(found == identity, f"{folder}", problem, remedy)


def is_done(folder: Path, spec: Facts, config: TrainConfig, provenance: Facts) -> bool:
    """Whether the folder holds this run's finished target; another's is refused."""
    if not (folder / "target.json").exists():
        return False
    for path in (folder, *sorted((folder / "snapshots").glob("step-*"))):
        if checkpoint.is_unsealed(path):
            _seal(path, spec, config, provenance)
    about = checkpoint.describe(folder)["provenance"]
    require_same_run(folder, about.get("identity"), provenance["identity"])
    if about.get("step") != config.steps:
        return False
    require(
        checkpoint.has_arrays(folder) or checkpoint.has_state(folder),
        f"{folder}",
        "lacks parameters that its target.json speaks of, and has no training state",
        "restore them from a copy, or delete that folder to train anew",
    )
    return checkpoint.has_arrays(folder)


def _seal(folder: Path, spec: Facts, config: TrainConfig, provenance: Facts) -> None:
    """Seal the description of a target that a version before 0.2 wrote.

    It says that it is of this very run, so all that becomes a number is known here and
    written anew; seconds and versions are taken from it.
    """
    old = checkpoint.describe(folder, unsealed=True)["provenance"]
    require_same_run(folder, old.get("identity"), provenance["identity"])
    step, privacy = old.get("step"), None
    ok = isinstance(step, int) and step > 0
    if folder.parent.name == "snapshots":
        ok = ok and folder.name == f"step-{step:06d}"
    if ok and config.dp is not None:
        privacy = dp.record(config, dp.mechanism(config, provenance["members"]), step)
        told = old.get("privacy")
        names = ("noise_multiplier", "rate", "clip", "delta")
        ok = isinstance(told, dict) and all(told.get(n) == privacy[n] for n in names)
    problem = "does not say what a training with this config leaves"
    remedy = "restore it from a copy, or train in a new workdir"
    require(ok, f"{folder / 'target.json'}", problem, remedy)
    about = {**provenance, "step": step}
    about |= {n: old[n] for n in ("seconds", "config", "versions") if n in old}
    checkpoint.seal_target(
        folder, spec, about if privacy is None else {**about, "privacy": privacy}
    )
