"""What exhibits are, and what they see: steps, and audits as planned and as finished.

A kind of exhibit is a frozen dataclass whose fields are its config. It is checked
against what audits plan before anything is computed, and built from the files of
finished ones. Which diffusion steps it shows is fixed in the config, or was chosen on
reference data: nothing here ever sees the rows that an exhibit reports on.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from score_mia.check import UserError, one_of, require
from score_mia.metrics.intervals import evaluate
from score_mia.report import files
from score_mia.report.content import AttackContent, Stepped
from score_mia.report.curves import RocCurve, roc_curve
from score_mia.report.text import SPACE, estimate
from score_mia.results import AttackResult, AuditResult, Distance, Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHOSEN = "chosen"
"""In the place of a time: the step that the attack's rule chose on reference data."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of an exhibit, as its config says them.

    Attributes:
      times: on each process's own clock: a list for all audits, or a mapping from an
        audit's name to its list. A time may be "chosen": what the attack's rule chose
        on reference data.
      log_snr: in place of times: the nearest column to each of these, for all audits.
    """

    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()

    def of(self, audit: str) -> tuple[Any, ...]:
        """The times asked of one audit, "chosen" among them."""
        if not isinstance(self.times, Mapping):
            return _listed(self.times)
        require(
            audit in self.times,
            f"times of audit {audit!r}",
            "are not given",
            f"add times[{audit!r}], or leave the audit out",
        )
        return _listed(self.times[audit])

    def require_one(self) -> None:
        """Refuse steps that are given both ways, or neither."""
        require(
            bool(self.times) != bool(self.log_snr),
            f"times={self.times!r}, log_snr={self.log_snr!r}",
            "are not one of the two",
            "give the steps either as times or as log_snr",
        )

    def check(
        self, audit: str, attack: str, times: Sequence[float], chooses: bool
    ) -> None:
        """Tell before training what cannot be shown.

        Args:
          audit, attack: by name.
          times: of the attack's columns.
          chooses: whether its rule chooses one of them.

        Raises:
          UserError: both or neither kind is given, a time that is no column, "chosen"
            for a rule that chooses none, an audit unknown to the mapping.
        """
        self.require_one()
        for time in self.of(audit) if self.times else ():
            if isinstance(time, str):
                one_of("times", time, (CHOSEN,))
                require(
                    chooses,
                    f"times={CHOSEN!r}",
                    f"the rule of attack {attack!r} chooses no single step",
                    "name the times",
                )
            else:
                column_at(attack, times, float(time))

    def columns(self, audit: str, attack: str, steps: Stepped) -> list[int]:
        """Columns to show, in the order asked, each once."""
        if self.log_snr:
            found = [
                int(np.argmin(np.abs(steps.log_snr - level))) for level in self.log_snr
            ]
            return list(dict.fromkeys(found))
        found = []
        for time in self.of(audit):
            if time != CHOSEN:
                found.append(column_at(attack, steps.time, float(time)))
            elif steps.chosen is not None:
                found.append(steps.chosen)
        return list(dict.fromkeys(found))


def _listed(value: Any) -> tuple[Any, ...]:
    """One time without a list means a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def column_at(attack: str, times: Sequence[float] | np.ndarray, time: float) -> int:
    """The column measured at this very time.

    Raises:
      UserError: there is none; the nearest two are named.
    """
    far = np.abs(np.asarray(times) - time)
    near = int(np.argmin(far))
    others = " and ".join(f"{times[k]:g}" for k in np.argsort(far)[:2])
    require(
        bool(far[near] <= 1e-6 * max(1.0, abs(time))),
        f"time {time:g}",
        f"is no column of attack {attack!r}",
        f"put it into the attack's times, or take one of them (nearest: {others})",
    )
    return near


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
      process: name of the process in the config, e.g. "ddpm"; empty for a service.
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

    def ids(self, attack: str) -> np.ndarray:
        """Of the images of the evaluation rows."""
        return self._once(("ids", attack), lambda: files.ids(self.folder, attack))

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


NONE = "\N{EN DASH}"
"""In the place of what there is none of."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table: a value and, in small, its interval or what else is said."""

    value: str
    below: str = ""
    known: bool = True


@dataclasses.dataclass(frozen=True)
class Row:
    """One row; a published one is set apart wherever it is shown."""

    cells: tuple[Cell, ...]
    published: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A header and rows as long; the first cell names its row."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """A named row of pictures [k, h, w, c], float in [0, 1]."""

    name: str
    pictures: Float[np.ndarray, "k h w c"]
    labels: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Built:
    """An exhibit, ready to be written.

    Attributes:
      caption: what is shown, of how many images, with which intervals.
      csv: its numbers in full precision.
      alt: the figure or the pictures in words.
      table: for the page and LaTeX.
      figure: for PNG and PDF, and for the page unless there are `strips`.
      strips: pictures for the page.
    """

    caption: str
    csv: str
    alt: str
    table: Table | None = None
    figure: Figure | None = None
    strips: tuple[Strip, ...] = ()


@dataclasses.dataclass(frozen=True)
class Exhibit(abc.ABC):
    """A table or figure over several audits.

    Attributes:
      audits: which of the study's, in the order shown; None for all.
      title: its heading; "" for the kind's own.
    """

    audits: tuple[str, ...] | None = None
    title: str = ""

    heading: ClassVar[str] = ""

    @property
    def head(self) -> str:
        """What stands over it."""
        return self.title or self.heading or type(self).__name__

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of the audits it shows."""
        names = tuple(names)
        for name in self.audits or ():
            one_of("audit", name, names)
        return names if self.audits is None else self.audits

    def check(self, planned: Mapping[str, Planned]) -> None:
        """Tell before training what could not be shown, as a `UserError`."""
        for name in self.among(planned):
            self.check_audit(name, planned[name])

    @abc.abstractmethod
    def check_audit(self, name: str, planned: Planned) -> None:
        """The same of one audit."""

    @abc.abstractmethod
    def build(self, audits: Sequence[Audit]) -> Built:
        """The exhibit of those of its audits that are finished, at least one."""


# --- words that exhibits share -----------------------------------------------------


def number(entry: Estimate, nonmembers: int, percent: bool = True) -> Cell:
    """An estimate with its interval, or why there is none."""
    value, interval = estimate(entry, nonmembers, percent)
    return Cell(value, interval.replace(" ", SPACE), entry.known)


def distance(entry: Distance) -> Cell:
    """A distance between two sets of images, with its interval or its n."""
    first, second = entry.n
    value = f"{entry.value:.4g}"
    if entry.low is None:
        return Cell(value, f"n{SPACE}={SPACE}{first:,},{SPACE}{second:,}")
    return Cell(value, f"[{entry.low:.3g},{SPACE}{entry.high:.3g}]")


def sizes(audits: Sequence[Audit], attack: str) -> str:
    """On how many images an attack was judged, in words."""
    counts = [a.counts(attack) for a in audits]
    if len(set(counts)) == 1:
        each = " in each audit" if len(counts) > 1 else ""
        return f"{counts[0][0]:,} members and {counts[0][1]:,} non-members{each}"
    return "members and non-members: " + "; ".join(
        f"{a.label} {m:,} and {n:,}" for a, (m, n) in zip(audits, counts, strict=True)
    )


def levels(audits: Sequence[Audit]) -> str:
    """Coverage of the audits' intervals, e.g. "95 %"."""
    shown = sorted({f"{100 * a.result.level:g}" for a in audits})
    return f"{' or '.join(shown)}{SPACE}%"


def frechet_heading(audits: Sequence[Audit]) -> str:
    """ "FID" if the encoder of FID measured them all, else "FD"."""
    measured = [a.result.target.quality for a in audits]
    return "FID" if {q.frechet_name for q in measured if q} == {"FID"} else "FD"
