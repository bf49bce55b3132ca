"""The mean of the columns: no column need be chosen at all."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
from jaxtyping import Float

from score_mia.check import finite, require
from score_mia.signals import Signals


@dataclasses.dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of each column among reference non-members."""

    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int


@dataclasses.dataclass(frozen=True)
class Mean:
    """The membership score is the mean over columns.

    Reference data: known non-members ("population"); known members are not needed and
    are left out if present. Fitted, each column is first centred and scaled by the
    non-members' mean and standard deviation, so that a score is in units of how
    unusual the image would be for a non-member, and no column outweighs the others by
    its unit or by how noisy its time is. A column that is constant there has no such
    unit and is left out. Not fitted, or fitted on an empty record (reference "none"),
    it is the plain mean.

    Attributes:
      columns: names to average; None for all.
    """

    columns: tuple[str, ...] | None = None
    scale: Scale | None = dataclasses.field(default=None, init=False)

    def __post_init__(self) -> None:
        require(
            self.columns is None or len(self.columns) > 0,
            "columns=()",
            "names no column",
            "name at least one, or leave it out to average all",
        )

    def fit(self, reference: Signals) -> Mean:
        """Learn the columns' scale from non-members.

        Raises:
          UserError: fewer than two non-members (but some images), a value that is not
          finite, or no column that varies.
        """
        fitted = copy.copy(self)
        if len(reference) == 0:
            object.__setattr__(fitted, "scale", None)
            return fitted
        population = reference.select(~reference.member)
        require(
            len(population) >= 2,
            "rule 'mean'",
            f"the reference data hold {len(population)} non-members",
            "give two or more, or none at all for the plain mean",
        )
        names, values = self._columns(population)
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
        scale = Scale(
            tuple(name for name, keep in zip(names, vary, strict=True) if keep),
            tuple(mean[vary].tolist()),
            tuple(std[vary].tolist()),
            len(population),
        )
        object.__setattr__(fitted, "scale", scale)
        return fitted

    def score(self, signals: Signals) -> Float[np.ndarray, " n"]:
        if self.scale is None:
            return self._columns(signals)[1].mean(1)
        values = _matrix(signals, self.scale.columns)
        return ((values - self.scale.mean) / self.scale.std).mean(1)

    def _columns(self, signals: Signals) -> tuple[tuple[str, ...], np.ndarray]:
        names = self.columns or signals.names
        require(
            len(names) > 0,
            "rule 'mean'",
            "the signal has no columns",
            "give it at least one",
        )
        return names, _matrix(signals, names)

    @property
    def chosen(self) -> str:
        if self.scale is None:
            which = "all columns" if self.columns is None else ", ".join(self.columns)
            return f"plain mean of {which}"
        return (
            f"mean of {len(self.scale.columns)} columns, each scaled by "
            f"{self.scale.images} reference non-members"
        )


def _matrix(signals: Signals, names: tuple[str, ...]) -> np.ndarray:
    """The named columns [N, K] in float64."""
    return np.stack([signals.column(name) for name in names], 1).astype(np.float64)
