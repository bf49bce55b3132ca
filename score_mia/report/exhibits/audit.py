"""An audit as exhibits see it: what it plans, and the files of a finished one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from score_mia.check import UserError, one_of
from score_mia.metrics.intervals import evaluate
from score_mia.report import files
from score_mia.report.content import AttackContent, Stepped
from score_mia.report.curves import RocCurve, roc_curve
from score_mia.report.exhibits.steps import Steps
from score_mia.results import AttackResult, AuditResult


class PlannedAttack(NamedTuple):
    """An attack that is to be run.

    Attributes:
      signal: full name of the signal's class, e.g. "score_mia.attacks.loss.Loss".
      columns: names of its columns.
      times: of its columns on the process's clock; None if it is not measured so.
      chooses: whether its rule scores by one single column.
    """

    signal: str
    columns: tuple[str, ...]
    times: tuple[float, ...] | None
    chooses: bool


class Noised(NamedTuple):
    """Members under noise.

    Attributes:
      pictures: [n, k, h, w, c] in [0, 1].
      labels: a text for each of the k times.
      times, log_snr: k of either.
    """

    pictures: np.ndarray
    labels: tuple[str, ...]
    times: Sequence[float]
    log_snr: Sequence[float]


@dataclasses.dataclass(frozen=True, eq=False)
class Planned:
    """What an audit's config says that exhibits ask about, before anything is run.

    Attributes:
      process: name of the process in the config, e.g. "ddpm".
      clock: equal for audits whose times mean the same.
      discrete_steps: of the process, None for a continuous one.
      attacks: by name.
      samples, sampler, seed: how many samples are drawn, by what, with which seed.
      level, replicates: of the intervals.
      pictures: whether its config lets pictures be shown.
      times: the times that steps name for pictures, any that the process has; raises
        `UserError` for one that it has not.
      noised: members under the noise of these times; the one thing that needs the data.
    """

    process: str
    clock: Hashable
    discrete_steps: int | None
    attacks: Mapping[str, PlannedAttack]
    samples: int
    sampler: str
    seed: int
    level: float
    replicates: int
    pictures: bool
    times: Callable[[Steps, str], list[float]]
    noised: Callable[[Path, Sequence[float], int], Noised]

    def find(self, attack: str) -> PlannedAttack:
        """An attack by its name; `UserError` if there is none."""
        one_of("attack", attack, self.attacks)
        return self.attacks[attack]

    def stepped(self, attack: str) -> tuple[float, ...]:
        """The times of a per-step attack's columns.

        Raises:
          UserError: the attack is unknown, or is measured without times.
        """
        times = self.find(attack).times
        if times is None:
            raise UserError(
                f"attack {attack!r} is not measured step by step; take one that is, "
                "such as the loss"
            )
        return times


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """One finished audit: its files, read when they are asked for.

    Attributes:
      name: its key in the study's config, and its folder's name.
      label: how exhibits call it.
      planned: what its config says.
      folder: its workdir.
    """

    name: str
    label: str
    planned: Planned
    folder: Path
    _kept: dict[Any, Any] = dataclasses.field(default_factory=dict, repr=False)

    @cached_property
    def result(self) -> AuditResult:
        """Its numbers."""
        return AuditResult.load(self.folder, remedy=AGAIN)

    def attack(self, name: str) -> AttackContent:
        """An attack with the scores of the rows it was judged on."""
        results = self.result.attacks
        one_of("attack", name, results)
        return self._once(
            name, lambda: files.load_attack(self.folder, name, self.result)
        )

    def stepped(self, name: str) -> Stepped:
        """What an attack measured step by step.

        Raises:
          UserError: it has no times, or nothing finite to show.
        """
        steps = self.attack(name).stepped
        if steps is None:
            raise UserError(
                f"attack {name!r} of audit {self.name!r} was not measured step by "
                "step; take one that is, such as the loss"
            )
        return steps

    def scores(self, attack: str, column: int | None = None) -> np.ndarray:
        """Membership scores of the evaluation rows, or one column of the signal."""
        if column is None:
            return self.attack(attack).scores
        read = files.column
        return self._once((attack, column), lambda: read(self.folder, attack, column))

    def member(self, attack: str) -> np.ndarray:
        """Whether each evaluation row is a member."""
        return self.attack(attack).member

    def entry(self, attack: str, column: int | None = None) -> AttackResult:
        """An attack's numbers as in metrics.json, or those of one of its columns."""
        if column is None:
            return self.result.attacks[attack]
        return self._once(
            ("entry", attack, column),
            lambda: evaluate(
                self.scores(attack, column),
                self.member(attack),
                level=self.result.level,
                replicates=self.planned.replicates,
                seed=self.result.seed,
            ),
        )

    def roc(self, attack: str, column: int | None = None) -> RocCurve:
        """The ROC with its band."""
        return self._once(
            ("roc", attack, column),
            lambda: roc_curve(self.scores(attack, column), self.member(attack)),
        )

    def counts(self, attack: str) -> tuple[int, int]:
        """Members and non-members that an attack was judged on."""
        entry = self.result.attacks[attack]
        return entry.members, entry.nonmembers

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


AGAIN = "delete it and run the study again: it is made again from what is kept"
