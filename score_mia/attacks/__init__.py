"""Attacks: signals read off a target, one file per paper."""

from score_mia.attacks.denoise import Denoise
from score_mia.attacks.gsa import Gsa
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
from score_mia.attacks.roots import Roots

SIGNALS = {
    "loss": Loss,
    "likelihood": Likelihood,
    "denoise": Denoise,
    "reconstruct": Reconstruct,
    "observe": Observe,
    "gsa": Gsa,
    "roots": Roots,
}
"""Name in a config -> class."""

__all__ = [
    "SIGNALS",
    "Access",
    "Attack",
    "Columns",
    "Counted",
    "Denoise",
    "Gsa",
    "HostQuery",
    "HostSignal",
    "Likelihood",
    "Loss",
    "Observe",
    "Query",
    "Reading",
    "Reconstruct",
    "Roots",
    "Signal",
]
