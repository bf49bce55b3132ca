"""What a decision rule is: it is fitted on images that are known, and what comes out of
the fit scores images that are not.

No JAX: rules are the cold half of an attack.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from score_mia.readings import Evidence

Knowledge = Literal["none", "population", "split", "shadows"]
"""What a fit is shown: nothing, known non-members, known members as well, or the
readings of other models whose members are known."""


@runtime_checkable
class Scorer(Protocol):
    """From evidence to one membership score per row, higher = more member-like.

    Attributes:
      columns: the columns that it reads.
      about: what the fit chose, for the report, e.g. "loss@180 (best of 50 ...)".
      fitted_on: how many images the fit learned from; 0 if it learned nothing.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def about(self) -> str: ...

    @property
    def fitted_on(self) -> int: ...

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [N] of the target's rows.

        A row's score depends on that row alone (its id among it), and on no label of
        the target's rows: they are absent here.
        """
        ...


@runtime_checkable
class Rule(Protocol):
    """A frozen value that can be fitted.

    Attributes:
      accepts: the kinds of knowledge that it can be fitted with.
    """

    accepts: ClassVar[frozenset[Knowledge]]

    def fit(self, known: Evidence) -> Scorer:
        """Learn from images that are known.

        Args:
          known: the target's rows are labelled, and empty (their names are there) if
            the attack knows nothing of them; `others` are there for "shadows".

        Raises:
          UserError: it cannot be fitted on these.
        """
        ...


@runtime_checkable
class Slow(Protocol):
    """A rule whose fit, or a test of sets whose judgement, takes its time."""

    def quick(self) -> Any:
        """The same, to be tried out: its scores mean nothing."""
        ...


@dataclasses.dataclass(frozen=True)
class OneColumn:
    """A scorer that reads one column.

    Attributes:
      column: its name.
      about: see `Scorer`.
      fitted_on: see `Scorer`.
    """

    column: str
    about: str
    fitted_on: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """The column in float64."""
        return rows.target.column(self.column).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class TestResult:
    """What a test of a whole set of images says.

    Attributes:
      p_value: of the set holding no more members than images that nobody trained on.
      statistic: on which it rests; larger = more like members.
      about: how it was made, for the report.
    """

    __test__: ClassVar[bool] = False  # no test case, whatever its name begins with

    p_value: float
    statistic: float
    about: str


@dataclasses.dataclass(frozen=True)
class SetEstimate:
    """An estimated share of members in a set of images.

    Attributes:
      value, low, high: the share and its interval.
      about: how it was made, for the report.
    """

    value: float
    low: float
    high: float
    about: str


@runtime_checkable
class SetTest(Protocol):
    """A judgement of a whole set at once, as dataset inference makes.

    Attributes:
      accepts: as of a rule.
    """

    accepts: ClassVar[frozenset[Knowledge]]

    def judge(
        self, suspects: Evidence, unseen: Evidence, seed: int
    ) -> TestResult | SetEstimate:
        """Hold a set against one that was surely not trained on.

        Args:
          suspects: readings of the set, without labels.
          unseen: of images known to be no members.
          seed: of whatever is drawn.
        """
        ...
