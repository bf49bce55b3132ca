"""A linear classifier over all columns, fitted on known members and non-members."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from score_mia.check import require


@dataclasses.dataclass(frozen=True)
class Plane:
    """The signed distance from a plane in columns' units: the log odds of a member."""

    columns: tuple[str, ...]
    weights: tuple[float, ...]
    offset: float
    fitted_on: int

    @property
    def about(self):
        return f"{len(self.columns)} columns, weighed on {self.fitted_on} images"

    def __call__(self, rows):
        blocks = [np.zeros(0)]
        for block in rows.target.blocks(self.columns):
            # One row at a time: a matrix product rounds by the size of its block.
            scaled = block.astype(np.float64) * self.weights
            blocks.append(scaled.sum(axis=1) + self.offset)
        return np.concatenate(blocks)


@dataclasses.dataclass(frozen=True)
class Logistic:
    """Logistic regression on standardised columns.

    Attributes:
      strength: inverse of the ridge penalty.
    """

    accepts: ClassVar[frozenset] = frozenset(("split",))
    strength: float = 1.0

    def fit(self, known):
        from sklearn.linear_model import LogisticRegression

        rows = known.target
        both = 0 < int(rows.member.sum()) < len(rows)
        require(both, "rule 'logistic'", "is shown one group", "give both as reference")
        values = rows.matrix().astype(np.float64)
        mean, spread = values.mean(axis=0), values.std(axis=0)
        spread = np.where(spread > 1e-9 * np.abs(values).max(axis=0), spread, np.inf)
        model = LogisticRegression(C=self.strength, tol=1e-8, max_iter=1000)
        model.fit((values - mean) / spread, rows.member)
        weights = model.coef_[0] / spread
        offset = float(model.intercept_[0] - weights @ mean)
        return Plane(rows.names, tuple(weights.tolist()), offset, len(rows))
