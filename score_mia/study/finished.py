"""A finished audit as its files tell it: nothing is computed on the model again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.auditing.assess import Assessment, assess
from score_mia.auditing.plan import Plan
from score_mia.auditing.work import Work, config_digest, open_work
from score_mia.check import UserError, require
from score_mia.data.split import Split
from score_mia.engine import part_name
from score_mia.files import load_sealed
from score_mia.metrics.intervals import evaluate
from score_mia.report.content import ColumnContent
from score_mia.report.curves import ColumnCurves, RocCurve, curves_of, roc_curve
from score_mia.signals import Signals, concat
from score_mia.study.clock import Clock, clock_of, find


@dataclasses.dataclass(frozen=True, eq=False)
class Finished:
    """One audit of a study.

    Attributes:
      name: its key in the study's config, and its folder's name.
      label: how exhibits call it.
      plan: what was done.
      folder: its workdir.
    """

    name: str
    label: str
    plan: Plan
    folder: Path
    _kept: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @cached_property
    def metrics(self) -> Mapping[str, Any]:
        """metrics.json."""
        return _metrics(self.folder)

    @cached_property
    def split(self) -> Split:
        """Who is a member, and who is reference data."""
        return Split.load(self.folder / "split.npz")

    @cached_property
    def work(self) -> Work:
        """The workdir with its data, for pictures."""
        return open_work(self.plan, self.folder)

    @property
    def process(self) -> str:
        """Name of the process in the config, e.g. "ddpm"."""
        return str(self.plan.config["sde"]["name"])

    @property
    def level(self) -> float:
        """Coverage of the audit's intervals."""
        return self.plan.report.level

    def signals(self, attack: str) -> Signals:
        """What an attack read off the target, every row, from its shards.

        Raises:
          UserError: a shard is missing or damaged, or belongs to another target.
        """
        folder = self.folder / "signals" / find(self.plan, attack).name
        shape = {"parts": int, "target": str}
        manifest = load_sealed(folder / "manifest.json", shape)
        count, members = manifest["parts"], self.split.members
        found = concat(
            [Signals.load(folder / part_name(k, count), members) for k in range(count)]
        )
        require(
            manifest["target"] == self.metrics["target"]["digest"]
            and np.array_equal(found.ids, self.split.ids),
            str(folder),
            "holds signals of another target or split",
            f"run the audit of {self.folder} again",
        )
        return found

    def clock(self, attack: str) -> Clock:
        """The clock of a per-step attack."""
        key = ("clock", attack)
        if key not in self._kept:
            self._kept[key] = clock_of(self.plan, attack)
        return self._kept[key]

    def assessment(self, attack: str) -> Assessment:
        """The attack's rule, fitted on reference rows, and the rows it is judged on."""
        key = ("assessment", attack)
        if key not in self._kept:
            one, signals = find(self.plan, attack), self.signals(attack)
            self._kept[key] = assess(one, signals, self.split, self.plan, seconds=0.0)
        return self._kept[key]

    def chosen(self, attack: str) -> str | None:
        """The one column the fitted rule scores by, if it is that kind of rule."""
        rule = self.assessment(attack).rule
        choice = getattr(rule, "choice", None)
        return getattr(choice, "column", None) or getattr(rule, "column", None)

    def entry(self, attack: str, column: int | None = None) -> Mapping[str, Any]:
        """Estimates of an attack as in metrics.json, or those of one of its columns."""
        if column is None:
            return self.metrics["attacks"][attack]
        found = self.assessment(attack).signals
        return evaluate(
            found.values[:, column].astype(np.float64),
            found.member,
            level=self.level,
            replicates=self.plan.report.replicates,
            seed=self.plan.seed,
        )

    def scores(self, attack: str, column: int | None = None) -> np.ndarray:
        """Membership scores of the evaluation rows, or one column of the signal."""
        found = self.assessment(attack)
        if column is None:
            return found.scores
        return found.signals.values[:, column].astype(np.float64)

    def member(self, attack: str) -> np.ndarray:
        """Whether each evaluation row is a member."""
        return self.assessment(attack).signals.member

    def counts(self, attack: str) -> tuple[int, int]:
        """Members and non-members that an attack was judged on."""
        entry = self.metrics["attacks"][attack]
        return entry["n_members"], entry["n_nonmembers"]

    def columns(self, attack: str) -> ColumnContent:
        """Every column of a per-step attack, of the evaluation rows."""
        clock, found = self.clock(attack), self.assessment(attack).signals
        chosen = self.chosen(attack)
        return ColumnContent(
            clock.names,
            found.values.astype(np.float64),
            clock.time,
            clock.log_snr,
            clock.names.index(chosen) if chosen in clock.names else None,
            clock.label,
        )

    def by_step(self, attack: str) -> ColumnCurves:
        """AUC and TPRs of every column with their intervals."""
        key = ("by_step", attack)
        if key not in self._kept:
            values = self.assessment(attack).signals.values.astype(np.float64)
            self._kept[key] = curves_of(values, self.member(attack))
        return self._kept[key]

    def roc(self, attack: str, column: int | None = None) -> RocCurve:
        """The ROC with its band."""
        key = ("roc", attack, column)
        if key not in self._kept:
            scores = self.scores(attack, column)
            self._kept[key] = roc_curve(scores, self.member(attack))
        return self._kept[key]


def is_finished(plan: Plan, folder: Path) -> bool:
    """Whether the folder holds this very audit, with its report and all its attacks."""
    needed = ("split.npz", "metrics.json", "report/index.html")
    if not all((folder / name).exists() for name in needed):
        return False
    try:
        metrics = _metrics(folder)
    except UserError:
        return False  # damaged, or of an older version: the audit writes it again
    failed = any("failed" in entry for entry in metrics["attacks"].values())
    return metrics["config"] == config_digest(plan.config) and not failed


def _metrics(folder: Path) -> dict[str, Any]:
    shape = {"config": str, "target": {"digest": str}, "attacks": {str: dict}}
    again = "delete it and run the study again: it is made again from what is kept"
    return load_sealed(folder / "metrics.json", shape, remedy=again)
