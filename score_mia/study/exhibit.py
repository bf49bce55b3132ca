"""What an exhibit is, and what it becomes: a table, a figure or pictures.

A kind of exhibit is a frozen dataclass whose fields are its config. It is checked
against the audits' plans before anything is computed, and built from finished audits.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import Float
from numpy import ndarray

from score_mia.auditing.plan import Plan
from score_mia.check import one_of
from score_mia.report.text import SPACE, estimate, known
from score_mia.study.finished import Finished

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
      table: for the page and LaTeX; drawn where there is no figure.
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

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names of the audits it shows."""
        names = tuple(names)
        for name in self.audits or ():
            one_of("audit", name, names)
        return names if self.audits is None else self.audits

    def check(self, plans: Mapping[str, Plan]) -> None:
        """Tell before training what could not be shown, as a `UserError`."""
        for name in self.among(plans):
            self.check_audit(name, plans[name])

    @abc.abstractmethod
    def check_audit(self, name: str, plan: Plan) -> None:
        """The same of one audit."""

    @abc.abstractmethod
    def build(self, audits: Sequence[Finished]) -> Built:
        """Make it from finished audits, at least one, in the order shown."""


def number(
    found: Mapping[str, Any] | None, nonmembers: int, percent: bool = True
) -> Cell:
    """An estimate of metrics.json as a cell, "below resolution" where it has none."""
    value, interval = estimate(found, nonmembers, percent)
    return Cell(value, interval.replace(" ", SPACE), known(found))


def sizes(audits: Sequence[Finished], attack: str) -> str:
    """On how many images an attack was judged, in words."""
    counts = [a.counts(attack) for a in audits]
    if len(set(counts)) == 1:
        each = " in each audit" if len(counts) > 1 else ""
        return f"{counts[0][0]:,} members and {counts[0][1]:,} non-members{each}"
    return "members and non-members: " + "; ".join(
        f"{a.label} {m:,} and {n:,}" for a, (m, n) in zip(audits, counts, strict=True)
    )


def levels(audits: Sequence[Finished]) -> str:
    """Coverage of the audits' intervals, e.g. "95 %"."""
    shown = sorted({f"{100 * a.level:g}" for a in audits})
    return f"{' or '.join(shown)}{SPACE}%"
