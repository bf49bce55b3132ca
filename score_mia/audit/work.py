"""The workdir of one audit: its config, its data and its split, opened and checked."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.build import Plan
from score_mia.check import UserError, require
from score_mia.checkpoint import load_target
from score_mia.data.source import Source
from score_mia.data.split import Split
from score_mia.files import digest, load_json, save_json
from score_mia.target import Target


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """A plan in its folder.

    Attributes:
      plan: what is to be done.
      folder: where.
      source, split: the data, and who is a member; the split is kept in split.npz.
    """

    plan: Plan
    folder: Path
    source: Source
    split: Split

    @cached_property
    def target(self) -> Target:
        """The target under attack, read from its checkpoint."""
        self.require_trained()
        return self.load(self.step)

    @property
    def step(self) -> int:
        """Training step of the target under attack."""
        plan = self.plan
        if plan.target.metric is None:
            return plan.target.step or plan.train.steps
        path = self.folder / "selection.json"
        require(path.exists(), f"{path}", "does not exist", "run 'attack' or 'audit'")
        return int(load_json(path)["chosen"])

    @property
    def target_folder(self) -> Path:
        """Where the target under attack is kept."""
        return self._folder_of(self.step)

    def load(self, step: int) -> Target:
        """The target of one of the kept steps."""
        return load_target(self._folder_of(step), allow=self.plan.names)

    def require_trained(self) -> None:
        """Refuse to go on before the training is finished."""
        path = self.folder / "target"
        if not (path / "target.json").exists():
            raise UserError(
                f"{path} holds no trained target; run 'train' or 'audit' with this "
                "workdir first"
            )

    def _folder_of(self, step: int) -> Path:
        target = self.folder / "target"
        if step == self.plan.train.steps:
            return target
        return target / "snapshots" / f"step-{step:06d}"

    @property
    def conditional(self) -> bool:
        """Whether the network is told each image's class."""
        return bool(self.plan.config["network"].get("classes"))

    def conditions(self, ids: np.ndarray) -> np.ndarray:
        """Class labels of these images, for a network that is told them.

        Raises:
          UserError: the data set has no labels, or one beyond the network's classes.
        """
        classes = int(self.plan.config["network"]["classes"])
        labels = self.source.labels(ids)
        if labels is None:
            raise UserError(
                f"network.classes={classes}: the data set has no class labels; set it "
                "to 0, or give data with labels"
            )
        low, high = int(labels.min()), int(labels.max())
        require(
            low >= 0 and high < classes,
            f"network.classes={classes}",
            f"do not hold the data set's labels, which run from {low} to {high}",
            f"set it to {high + 1} or more" if low >= 0 else "count labels from 0",
        )
        return labels

    def pictures(self, ids: np.ndarray, most: int) -> np.ndarray:
        """The first `most` images of these ids, [n, h, w, c] in [0, 1]."""
        return self.source.images(ids[:most])


def open_work(plan: Plan, workdir: str | Path) -> Work:
    """Open or begin the workdir of a plan.

    Raises:
      UserError: the workdir belongs to another config, or the data have changed.
    """
    folder = Path(workdir)
    _check_config(plan, folder / "config.json")
    source = plan.source()
    path = folder / "split.npz"
    if path.exists():
        split = Split.load(path)
        split.check(source)
    else:
        split = plan.split(source)
        # Written only now: data that cannot be read must not claim the workdir.
        save_json(folder / "config.json", plan.config)
        split.save(path)
    return Work(plan, folder, source, split)


def config_digest(config: Any) -> str:
    """Short digest of a resolved config."""
    import json

    return digest(json.dumps(config, sort_keys=True))


def _check_config(plan: Plan, path: Path) -> None:
    """Refuse the workdir of another config."""
    if not path.exists():
        return
    old = load_json(path)
    changed = sorted(_changes(old, plan.config))
    if changed:
        shown = ", ".join(changed[:4]) + (" ..." if len(changed) > 4 else "")
        raise UserError(
            f"workdir {path.parent} was made with another config (differs in {shown}); "
            "choose another --workdir, or delete that one"
        )


def _changes(old: Any, new: Any, path: str = "") -> set[str]:
    """Dotted names of the fields in which two configs differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        changes: set[str] = set()
        for key in old.keys() | new.keys():
            name = f"{path}.{key}" if path else key
            if key not in old or key not in new:
                changes.add(name)
            else:
                changes |= _changes(old[key], new[key], name)
        return changes
    return set() if old == new else {path}
