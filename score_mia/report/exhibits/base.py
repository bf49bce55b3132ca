"""What an exhibit is, and what it becomes: a table, a figure or pictures.

A kind of exhibit is a frozen dataclass whose fields are its config. It is checked
against what audits plan before anything is computed, and built from the files of
finished ones.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from jaxtyping import Float
from numpy import ndarray

from score_mia.check import one_of
from score_mia.report.exhibits.audit import Audit, Planned
from score_mia.report.text import SPACE, estimate
from score_mia.results import Distance, Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    pictures: Float[ndarray, "k h w c"]
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
