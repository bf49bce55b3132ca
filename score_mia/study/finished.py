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
from score_mia.checkpoint import target_digest
from score_mia.data.split import Split
from score_mia.engine import Reader, collect
from score_mia.files import load_sealed
from score_mia.metrics.intervals import evaluate
from score_mia.readings import Evidence, joined
from score_mia.report.content import ColumnContent
from score_mia.report.curves import ColumnCurves, RocCurve, curves_of, roc_curve
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

    def evidence(self, attack: str) -> Evidence:
        """What an attack read off the target, every row, from its shards.

        Raises:
          UserError: a shard is missing or damaged, or belongs to another target.
        """
        require(
            target_digest(self.work.target) == self.metrics["target"]["digest"],
            str(self.folder),
            "holds numbers of another target",
            f"run the audit of {self.folder} again",
        )
        readings = {
            name: collect(reader, self.split.ids, self.work.signal_folder(reader))
            for name, reader in self._readers(attack).items()
        }
        return Evidence(joined(readings))

    def _readers(self, attack: str) -> dict[str, Reader]:
        signals = find(self.plan, attack).signals
        return {name: self.work.reader(name) for name in signals}

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
            one, evidence = find(self.plan, attack), self.evidence(attack)
            self._kept[key] = assess(one, evidence, self.split, self.plan, seconds=0.0)
        return self._kept[key]

    def chosen(self, attack: str) -> str | None:
        """The one column the fitted rule scores by, if it is that kind of rule."""
        columns = self.assessment(attack).scorer.columns
        return columns[0] if len(columns) == 1 else None

    def entry(self, attack: str, column: int | None = None) -> Mapping[str, Any]:
        """Estimates of an attack as in metrics.json, or those of one of its columns."""
        if column is None:
            return self.metrics["attacks"][attack]
        found = self.assessment(attack).signals
        return evaluate(
            found.matrix()[:, column].astype(np.float64),
            self.member(attack),
            level=self.level,
            replicates=self.plan.report.replicates,
            seed=self.plan.seed,
        )

    def scores(self, attack: str, column: int | None = None) -> np.ndarray:
        """Membership scores of the evaluation rows, or one column of the signal."""
        found = self.assessment(attack)
        if column is None:
            return found.scores
        return found.signals.matrix()[:, column].astype(np.float64)

    def member(self, attack: str) -> np.ndarray:
        """Whether each evaluation row is a member."""
        member = self.assessment(attack).signals.member
        assert member is not None
        return member

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
            found.matrix().astype(np.float64),
            clock.time,
            clock.log_snr,
            clock.names.index(chosen) if chosen in clock.names else None,
            clock.label,
        )

    def by_step(self, attack: str) -> ColumnCurves:
        """AUC and TPRs of every column with their intervals."""
        key = ("by_step", attack)
        if key not in self._kept:
            values = self.assessment(attack).signals.matrix().astype(np.float64)
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
