"""Attacks: signals read off a target, one file per paper."""

from collections.abc import Callable

from score_mia.attacks.calibration import calibrated
from score_mia.attacks.denoise import Denoise
from score_mia.attacks.difference import against
from score_mia.attacks.gsa import Gsa
from score_mia.attacks.likelihood import Likelihood
from score_mia.attacks.loss import Loss
from score_mia.attacks.nested import NESTED
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

SIGNALS: dict[str, Callable] = {
    "loss": Loss,
    "likelihood": Likelihood,
    "denoise": Denoise,
    "reconstruct": Reconstruct,
    "observe": Observe,
    "gsa": Gsa,
    "roots": Roots,
    "calibrated": calibrated,
    "against": against,
}
"""Name in a config -> class, or what makes one of a class by what it is around."""

NESTED.update(SIGNALS)

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
    "against",
    "calibrated",
]
