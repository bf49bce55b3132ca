"""Attacks: signals read off a target, one file per paper."""

from score_mia.attacks.covariates import Covariates
from score_mia.attacks.denoise import Denoise
from score_mia.attacks.likelihood import Likelihood
from score_mia.attacks.loss import Loss
from score_mia.attacks.observe import Observe
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
from score_mia.attacks.reconstruct import Reconstruct

SIGNALS = {
    "loss": Loss,
    "likelihood": Likelihood,
    "denoise": Denoise,
    "reconstruct": Reconstruct,
    "observe": Observe,
    "covariates": Covariates,
}
"""Name in a config -> class."""

__all__ = [
    "SIGNALS",
    "Access",
    "Attack",
    "Columns",
    "Counted",
    "Covariates",
    "Denoise",
    "HostQuery",
    "HostSignal",
    "Likelihood",
    "Loss",
    "Observe",
    "Query",
    "Reading",
    "Reconstruct",
    "Signal",
]
