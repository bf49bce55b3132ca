"""One column, named beforehand: nothing to fit, nothing to be optimistic about."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from score_mia.check import require
from score_mia.signals import Signals


@dataclasses.dataclass(frozen=True)
class Column:
    """The membership score is one column of the signals. Reference data: none.

    Attributes:
      column: its name, e.g. "loss@200"; None for a signal that has only one.
    """

    column: str | None = None

    def fit(self, reference: Signals) -> Column:
        return self

    def score(self, signals: Signals) -> Float[np.ndarray, " n"]:
        name = self.column
        if name is None:
            require(
                len(signals.names) == 1,
                "rule 'column'",
                f"the signal has {len(signals.names)} columns and none is named",
                "give column=..., or choose one on reference data by the rule 'best'",
            )
            name = signals.names[0]
        return signals.column(name).astype(np.float64)

    @property
    def chosen(self) -> str:
        if self.column is None:
            return "the only column"
        return f"{self.column} (fixed beforehand)"
