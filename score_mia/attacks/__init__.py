"""Attacks: signals read off a target, one file per paper."""

from score_mia.attacks.likelihood import Likelihood
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import (
    Access,
    Attack,
    Columns,
    Counted,
    HostQuery,
    HostSignal,
    Query,
    Reading,
    Signal,
)

SIGNALS = {"loss": Loss, "likelihood": Likelihood}

__all__ = [
    "SIGNALS",
    "Access",
    "Attack",
    "Columns",
    "Counted",
    "HostQuery",
    "HostSignal",
    "Likelihood",
    "Loss",
    "Query",
    "Reading",
    "Signal",
]
