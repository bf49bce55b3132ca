"""The best column, chosen on reference data and never on the images it is judged by."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
from jaxtyping import Float

from score_mia.check import UserError, one_of, require, within
from score_mia.metrics.roc import column_curves, resolvable
from score_mia.signals import Signals


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a fit settled on.

    Attributes:
      column: name of the chosen column.
      value: its criterion on the reference data (optimistic: the best of many).
      candidates: how many columns there were.
      members, nonmembers: sizes of the reference data.
    """

    column: str
    value: float
    candidates: int
    members: int
    nonmembers: int


@dataclasses.dataclass(frozen=True)
class Best:
    """The membership score is the column that tells *reference* members apart best.

    Reference data: known members and known non-members ("split"), disjoint from the
    images under evaluation. Of equal columns the first is taken.

    Attributes:
      by: "auc", or "tpr" at the rate `fpr`. The AUC uses every reference image, so the
        choice is steadier; the TPR at a low rate hangs on a few.
      fpr: false positive rate for by="tpr".
    """

    by: str = "auc"
    fpr: float = 0.1
    choice: Choice | None = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        one_of("by", self.by, ("auc", "tpr"))
        within("fpr", self.fpr, 0.0, 1.0)

    def fit(self, reference: Signals) -> Best:
        """Choose the column.

        Raises:
          UserError: the reference lacks a class, holds a value that is not finite, or
          is too small for the rate `fpr`.
        """
        members = int(reference.member.sum())
        nonmembers = len(reference) - members
        require(
            members > 0 and nonmembers > 0,
            "rule 'best'",
            f"the reference data hold {members} members and {nonmembers} non-members",
            "it needs both: use reference='split', or name a column beforehand",
        )
        require(
            len(reference.names) > 0,
            "rule 'best'",
            "the signal has no columns",
            "give it at least one",
        )
        require(
            self.by == "auc" or resolvable(self.fpr, nonmembers),
            "rule 'best'",
            f"{nonmembers} reference non-members cannot show fpr={self.fpr!r}",
            "raise fpr, use more reference images, or choose by='auc'",
        )
        curves = column_curves(reference.values, reference.member, (self.fpr,))
        criterion = curves["auc" if self.by == "auc" else f"tpr@{self.fpr:g}"]
        index = int(np.argmax(criterion))
        fitted = copy.copy(self)
        choice = Choice(
            reference.names[index],
            float(criterion[index]),
            len(reference.names),
            members,
            nonmembers,
        )
        object.__setattr__(fitted, "choice", choice)
        return fitted

    def score(self, signals: Signals) -> Float[np.ndarray, " n"]:
        if self.choice is None:
            raise UserError(
                "rule 'best': has not been fitted; call fit with reference data first"
            )
        return signals.column(self.choice.column).astype(np.float64)

    @property
    def chosen(self) -> str:
        if self.choice is None:
            return "not fitted"
        by = "AUC" if self.by == "auc" else f"TPR at {self.fpr:g} FPR"
        n = self.choice.members + self.choice.nonmembers
        return (
            f"{self.choice.column} (best of {self.choice.candidates} by {by} on {n} "
            "reference images)"
        )
