"""Attacks: signals read off a target, one file per paper."""

from score_mia.attacks.clid import Clid
from score_mia.attacks.covariates import Covariates
from score_mia.attacks.denoise import Denoise
from score_mia.attacks.dispersion import Dispersion
from score_mia.attacks.flow import StraightPath
from score_mia.attacks.likelihood import Likelihood
from score_mia.attacks.loss import Loss
from score_mia.attacks.observe import Observe
from score_mia.attacks.pfami import Pfami
from score_mia.attacks.pia import Pia
from score_mia.attacks.probe import Probe
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
from score_mia.attacks.rediffuse import Rediffuse
from score_mia.attacks.secmi import Secmi
from score_mia.attacks.sima import Sima

SIGNALS = {
    "loss": Loss,
    "likelihood": Likelihood,
    "denoise": Denoise,
    "reconstruct": Reconstruct,
    "observe": Observe,
    "secmi": Secmi,
    "pia": Pia,
    "sima": Sima,
    "pfami": Pfami,
    "dispersion": Dispersion,
    "flow": StraightPath,
    "rediffuse": Rediffuse,
    "clid": Clid,
    "probe": Probe,
    "covariates": Covariates,
}
"""Name in a config -> class."""

__all__ = [
    "SIGNALS",
    "Access",
    "Attack",
    "Clid",
    "Columns",
    "Counted",
    "Covariates",
    "Denoise",
    "Dispersion",
    "HostQuery",
    "HostSignal",
    "Likelihood",
    "Loss",
    "Observe",
    "Pfami",
    "Pia",
    "Probe",
    "Query",
    "Reading",
    "Reconstruct",
    "Rediffuse",
    "Secmi",
    "Signal",
    "Sima",
    "StraightPath",
]
