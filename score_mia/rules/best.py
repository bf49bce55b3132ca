"""The best column, chosen on reference data and never on the images it is judged by."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.check import one_of, require, within
from score_mia.metrics.roc import column_curves, resolvable
from score_mia.readings import Evidence
from score_mia.rules.protocol import Knowledge, OneColumn


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

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("split",))

    def __post_init__(self) -> None:
        one_of("by", self.by, ("auc", "tpr"))
        within("fpr", self.fpr, 0.0, 1.0)

    def fit(self, known: Evidence) -> OneColumn:
        """Choose the column.

        Raises:
          UserError: the reference lacks a class, holds a value that is not finite, or
            is too small for the rate `fpr`.
        """
        rows = known.target
        member = np.zeros(len(rows), bool) if rows.member is None else rows.member
        members = int(member.sum())
        nonmembers = len(rows) - members
        require(
            members > 0 and nonmembers > 0,
            "rule 'best'",
            f"the reference data hold {members} members and {nonmembers} non-members",
            "it needs both: use knows='split', or name a column beforehand",
        )
        require(
            len(rows.names) > 0,
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
        criterion = "auc" if self.by == "auc" else f"tpr@{self.fpr:g}"
        found = [
            column_curves(values, member, (self.fpr,))[criterion]
            for _, values in rows.matrices()
        ]
        column = rows.names[int(np.argmax(np.concatenate(found)))]
        by = "AUC" if self.by == "auc" else f"TPR at {self.fpr:g} FPR"
        how = f"best of {len(rows.names)} by {by} on {len(rows)} reference images"
        return OneColumn(column, f"{column} ({how})", len(rows))
