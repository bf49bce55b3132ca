"""The mean of the columns, or their largest: no column need be chosen at all."""

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
    """The mean over columns, or the largest of them, first centred and scaled.

    Attributes:
      columns: their names.
      mean, std: of each; None for the columns as they are.
      about, fitted_on: see `rules.protocol.Scorer`.
      largest: take the largest column instead of the mean.
    """

    columns: tuple[str, ...]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    about: str
    fitted_on: int = 0
    largest: bool = False

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [N], one block of rows at a time."""
        scores = [np.zeros(0)]
        for block in rows.target.blocks(self.columns):
            values = block.astype(np.float64)
            if self.mean is not None and self.std is not None:
                values = (values - self.mean) / self.std
            scores.append(values.max(1) if self.largest else values.mean(1))
        return np.concatenate(scores)


@dataclasses.dataclass(frozen=True)
class Mean:
    """The membership score is the mean over columns.

    Reference data: known non-members ("population", or those of shadow models); known
    members are not needed and are left out if present. Fitted, each column is first
    centred and scaled by the non-members' mean and standard deviation, so that a score
    is in units of how unusual the image would be for a non-member, and no column
    outweighs the others by its unit or by how noisy its time is. A column that is
    constant there has no such unit and is left out. Fitted on nothing (knows "none"),
    it is the plain mean.

    Attributes:
      columns: names to average; None for all.
    """

    columns: tuple[str, ...] | None = None

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(
        ("none", "population", "split", "shadows")
    )
    _largest: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(
            self.columns is None or len(self.columns) > 0,
            "columns=()",
            "names no column",
            "name at least one, or leave it out to take all",
        )

    def fit(self, known: Evidence) -> Scaled:
        """Learn the columns' scale from non-members.

        Raises:
          UserError: fewer than two non-members (but some images), a value that is not
            finite, or no column that varies.
        """
        names, word = self.columns or known.target.names, self._word
        rule = f"rule {word!r}"
        remedy = "give it at least one"
        require(len(names) > 0, rule, "the signal has no columns", remedy)
        if len(known.target) == 0:
            known.target.matrix(names)  # refuses a column that is not there
        parts = (known.target,) if len(known.target) else known.others
        which = "all columns" if self.columns is None else ", ".join(self.columns)
        if not parts:
            about = f"plain {word} of {which}"
            return Scaled(names, None, None, about, largest=self._largest)
        population = [p if p.member is None else p.select(~p.member) for p in parts]
        values = np.concatenate([p.matrix(names) for p in population])
        require(
            len(values) >= 2,
            rule,
            f"the reference data hold {len(values)} non-members",
            f"give two or more, or none at all for the plain {word}",
        )
        values = values.astype(np.float64)
        finite("reference signals", values)
        mean, std = values.mean(0), values.std(0, ddof=1)
        # A constant column has a standard deviation of rounding errors only.
        vary = std > 1e-7 * np.abs(values).max(0)
        problem = "every column is constant among the reference non-members"
        require(bool(vary.any()), rule, problem, "check the signal")
        kept = tuple(name for name, keep in zip(names, vary, strict=True) if keep)
        return Scaled(
            kept,
            tuple(mean[vary].tolist()),
            tuple(std[vary].tolist()),
            f"{word} of {len(kept)} columns, each scaled by {len(values)} reference "
            "non-members",
            len(values),
            self._largest,
        )

    @property
    def _word(self) -> str:
        return "max" if self._largest else "mean"


@dataclasses.dataclass(frozen=True)
class Largest(Mean):
    """The membership score is the largest column, each scaled as in `Mean`.

    So the code of Pang & Wang 2023 (2312.08207) reduces token similarities, where
    their text says the mean.

    Attributes:
      columns: names to choose from; None for all.
    """

    _largest: ClassVar[bool] = True
