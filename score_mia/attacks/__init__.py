"""Attacks: signals read off a target, one file per paper."""

from collections.abc import Callable

from score_mia.attacks.calibration import calibrated
from score_mia.attacks.clid import Clid
from score_mia.attacks.covariates import Covariates
from score_mia.attacks.denoise import Denoise
from score_mia.attacks.difference import against
from score_mia.attacks.dispersion import Dispersion
from score_mia.attacks.flow import StraightPath
from score_mia.attacks.gsa import Gsa
from score_mia.attacks.likelihood import Likelihood
from score_mia.attacks.loss import Loss
from score_mia.attacks.nested import NESTED
from score_mia.attacks.observe import Observe
from score_mia.attacks.peak import Peak
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
from score_mia.attacks.ranged import Ranged
from score_mia.attacks.reconstruct import Reconstruct
from score_mia.attacks.rediffuse import Rediffuse
from score_mia.attacks.refined import Refined
from score_mia.attacks.roots import Roots
from score_mia.attacks.secmi import Secmi
from score_mia.attacks.sima import Sima
from score_mia.attacks.terms import Terms

SIGNALS: dict[str, Callable] = {
    "loss": Loss,
    "likelihood": Likelihood,
    "denoise": Denoise,
    "reconstruct": Reconstruct,
    "observe": Observe,
    "secmi": Secmi,
    "pia": Pia,
    "sima": Sima,
    "pfami": Pfami,
    "peak": Peak,
    "terms": Terms,
    "dispersion": Dispersion,
    "flow": StraightPath,
    "rediffuse": Rediffuse,
    "clid": Clid,
    "probe": Probe,
    "covariates": Covariates,
    "gsa": Gsa,
    "roots": Roots,
    "calibrated": calibrated,
    "against": against,
    "ranged": Ranged,
    "refined": Refined,
}
"""Name in a config -> class, or what makes one of a class by what it is around."""

NESTED.update(SIGNALS)

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
    "Gsa",
    "HostQuery",
    "HostSignal",
    "Likelihood",
    "Loss",
    "Observe",
    "Peak",
    "Pfami",
    "Pia",
    "Probe",
    "Query",
    "Ranged",
    "Reading",
    "Reconstruct",
    "Rediffuse",
    "Refined",
    "Roots",
    "Secmi",
    "Signal",
    "Sima",
    "StraightPath",
    "Terms",
    "against",
    "calibrated",
]
