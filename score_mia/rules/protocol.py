"""What a decision rule is: scikit-learn's two verbs, on records of signals."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from score_mia.signals import Signals


@runtime_checkable
class Rule(Protocol):
    """From K signals per image to one membership score, higher = more member-like."""

    def fit(self, reference: Signals) -> Rule:
        """A new rule, fitted on reference data only; it may ignore it."""
        ...

    def score(self, signals: Signals) -> Float[np.ndarray, " n"]:
        """Membership scores [N]; never looks at `signals.member`."""
        ...

    @property
    def chosen(self) -> str:
        """What the fit chose, for the report; e.g. "loss@180, best of 50 ..."."""
        ...
