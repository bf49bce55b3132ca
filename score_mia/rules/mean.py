"""The mean of the columns: no column need be chosen at all."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from score_mia.check import finite, require
from score_mia.readings import Evidence
from score_mia.rules.protocol import Knowledge


@dataclasses.dataclass(frozen=True)
class Scaled:
    """The mean over columns that are first centred and scaled.

    Attributes:
      columns: their names.
      mean, std: of each; None for the columns as they are.
      about, fitted_on: see `rules.protocol.Scorer`.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    about: str
    fitted_on: int = 0

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [N], one block of rows at a time."""
        scores = [np.zeros(0)]
        for block in rows.target.blocks(self.columns):
            values = block.astype(np.float64)
            if self.mean is not None and self.std is not None:
                values = (values - self.mean) / self.std
            scores.append(values.mean(1))
        return np.concatenate(scores)


@dataclasses.dataclass(frozen=True)
class Mean:
    """The membership score is the mean over columns.

    Reference data: known non-members ("population"); known members are not needed and
    are left out if present. Fitted, each column is first centred and scaled by the
    non-members' mean and standard deviation, so that a score is in units of how
    unusual the image would be for a non-member, and no column outweighs the others by
    its unit or by how noisy its time is. A column that is constant there has no such
    unit and is left out. Fitted on nothing (knows "none"), it is the plain mean.

    Attributes:
      columns: names to average; None for all.
    """

    columns: tuple[str, ...] | None = None

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("none", "population", "split"))

    def __post_init__(self) -> None:
        require(
            self.columns is None or len(self.columns) > 0,
            "columns=()",
            "names no column",
            "name at least one, or leave it out to average all",
        )

    def fit(self, known: Evidence) -> Scaled:
        """Learn the columns' scale from non-members.

        Raises:
          UserError: fewer than two non-members (but some images), a value that is not
            finite, or no column that varies.
        """
        rows = known.target
        names = self.columns or rows.names
        require(
            len(names) > 0,
            "rule 'mean'",
            "the signal has no columns",
            "give it at least one",
        )
        if len(rows) == 0:
            rows.matrix(names)  # refuses a column that is not there
            which = "all columns" if self.columns is None else ", ".join(self.columns)
            return Scaled(names, None, None, f"plain mean of {which}")
        population = rows if rows.member is None else rows.select(~rows.member)
        require(
            len(population) >= 2,
            "rule 'mean'",
            f"the reference data hold {len(population)} non-members",
            "give two or more, or none at all for the plain mean",
        )
        values = population.matrix(names).astype(np.float64)
        finite("reference signals", values)
        mean, std = values.mean(0), values.std(0, ddof=1)
        # A constant column has a standard deviation of rounding errors only.
        vary = std > 1e-7 * np.abs(values).max(0)
        require(
            bool(vary.any()),
            "rule 'mean'",
            "every column is constant among the reference non-members",
            "check the signal",
        )
        kept = tuple(name for name, keep in zip(names, vary, strict=True) if keep)
        return Scaled(
            kept,
            tuple(mean[vary].tolist()),
            tuple(std[vary].tolist()),
            f"mean of {len(kept)} columns, each scaled by {len(population)} reference "
            "non-members",
            len(population),
        )
