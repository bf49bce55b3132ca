"""What a workdir holds already, against what is asked of it now.

Only what later results depend on can refuse a config: the split, and the target or its
training. Attacks, samples and checks are tied to these by their own records; titles,
reports and all that is missing may change freely.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from score_mia.auditing.plan import Plan
from score_mia.check import UserError, require, short
from score_mia.checkpoint import describe, is_unsealed, state_record
from score_mia.clock import Clock
from score_mia.data.split import BESIDE, Split
from score_mia.files import digest
from score_mia.train.config import TrainConfig

ELSEWHERE = "choose another --workdir"


def members_digest(split: Split) -> str:
    """Digest of who was trained on, kept with the target."""
    return digest(np.asarray(split.members, np.int64))


def require_same_split(path: Path, kept: Split, wanted: Split) -> None:
    """Refuse a config whose split is another than the one of the workdir.

    Raises:
      UserError: a role differs; the line names the field of the config, if it is one.
    """
    names = ("ids", "member", "reference", *BESIDE)
    if all(np.array_equal(getattr(kept, n), getattr(wanted, n)) for n in names):
        return
    changes = differences(kept.recipe, wanted.recipe, "split")
    raise UserError(
        f"{path}: holds a split that differs in {_told(changes)}; {ELSEWHERE}"
        if changes
        else f"{path}: holds another split than the config makes of these data; give "
        f"back the lists it was made of, or {ELSEWHERE}"
    )


def require_same_target(
    folder: Path, plan: Plan, split: Split, shape: tuple[int, int, int]
) -> None:
    """Refuse a config that another target belongs to than the one in the folder.

    Args:
      folder: of a target, of one of its snapshots, or of a training that has begun.
      plan: what is asked for now.
      split: whose members it is to be trained on.
      shape: of the images.

    Raises:
      UserError: there is a target or a training state that differs in what decides it,
        or its description is damaged.
    """
    kept = _kept(folder)
    if kept is None:
        return
    spec, about, finished = kept
    changes = differences(spec, plan.spec(shape))
    imported = about.get("imported") is not None
    if plan.train is None:
        require(imported, f"{folder}", "holds a target that was trained", ELSEWHERE)
    elif not imported:
        clock = plan.known.sde.clock
        now = plan.train.science(clock)
        changes += differences(_science(about, clock), now, "train")
        begun = None if plan.trained is None else plan.trained.begins_with
        changes += differences(about.get("start"), begun, "target.start")
    if changes:
        raise UserError(
            f"{folder}: holds a target that differs in {_told(changes)}; {ELSEWHERE}, "
            "or give these fields back"
        )
    same = about.get("members") == len(split.members)
    if "members_digest" in about:
        same = same and about["members_digest"] == members_digest(split)
    problem = f"holds a target of {about.get('members')} other members"
    require(same, f"{folder}", problem, f"{ELSEWHERE}, or give the split back")
    if finished and not imported and plan.train is not None:
        _require_step(folder, about.get("step"), plan.train.steps)


class Change(NamedTuple):
    """A field in which two records differ; None where one has none."""

    name: str
    before: Any
    now: Any


def differences(old: Any, new: Any, name: str = "") -> list[Change]:
    """The fields in which two JSON values differ, by their dotted names."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        changes = []
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name else str(key)
            changes += differences(old.get(key), new.get(key), inner)
        return changes
    old, new = (list(v) if isinstance(v, tuple) else v for v in (old, new))
    return [] if old == new else [Change(name, old, new)]


def _told(changes: list[Change]) -> str:
    first, *rest = changes
    more = f", and in {', '.join(c.name for c in rest[:3])}" if rest else ""
    more += " ..." if len(rest) > 3 else ""
    values = (first.before, first.now)
    before, now = ("not given" if v is None else short(repr(v), 60) for v in values)
    return f"{first.name} ({before}, now {now}){more}"


def _kept(folder: Path) -> tuple[dict[str, Any], dict[str, Any], bool] | None:
    """Spec and provenance of what is there, and whether its training is finished."""
    # Versions before 0.2 kept no seal and, with a state, an identity only: `train`
    # holds that against the run, and nothing else reads them.
    if is_unsealed(folder):
        return None
    if (folder / "target.json").exists():
        about = describe(folder)
        return about["spec"], about["provenance"], True
    record = state_record(folder)
    if record is None or not isinstance(record.get("spec"), dict):
        return None
    return record["spec"], record, False


def _science(about: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """What decided a training, of the settings that are kept with it."""
    try:
        return TrainConfig.of(about["train"]).science(clock)
    except (UserError, KeyError, TypeError) as error:
        raise UserError(
            f"the target was trained with settings that this version does not know "
            f"({error}); use the version that trained it, or {ELSEWHERE}"
        ) from error


def _require_step(folder: Path, step: Any, wanted: int) -> None:
    """Refuse a finished target of another number of steps, and a misplaced snapshot."""
    if folder.parent.name == "snapshots":
        same = folder.name == f"step-{step:06d}"
        require(same, f"{folder}", f"holds step {step}", "restore it from a copy")
        return
    more = isinstance(step, int) and step < wanted
    on = ", or delete target.json there to train on from its last state" if more else ""
    problem = f"holds a target of {step} training steps, now it is train.steps={wanted}"
    require(step == wanted, f"{folder}", problem, f"{ELSEWHERE}{on}")
