"""What all configs of the benchmark share: how attacks are judged, and called."""

from collections.abc import Iterable

CALLED = {
    "loss": "Loss, best time",
    "loss_mc": "Loss, 4 noises, best time",
    "loss_200": "Loss at level 200",
    "untold": "Loss without the condition",
    "secmi": "SecMI",
    "secmi_head": "SecMI, a network on the difference",
    "pia": "PIA",
    "pian": "PIAN",
    "sima": "SimA",
    "pfami": "PFAMI",
    "mirror": "Peak, beside the mirror image alone",
    "peak": "Peak",
    "learned": "Peak, weighed, cross-fitted",
    "errors": "Loss, at three levels, two noises",
    "weighed": "Likelihood's terms, weighed, cross-fitted",
    "dispersion": "Dispersion",
    "flow": "Straight path",
    "clid": "CLiD",
    "probe": "Noise as a probe",
    "denoise": "Denoising errors",
    "observe": "Observed variation",
    "rediffuse": "ReDiffuse",
    "reconstruct": "Reconstruction",
    "likelihood": "Likelihood",
    "coarse": "Likelihood, 4 steps of Heun",
    "gsa": "GSA1, logistic",
    "roots": "Tracing the roots",
    "looks": "Looks alone (no model)",
    "quantile": "Quantile regression",
    "known": "Grey box combined, known images",
    "together": "Grey box combined, cross-fitted",
    "everything": "All combined, cross-fitted",
    "calibrated": "Loss by compressed size",
    "against": "Loss against another model",
}
"""Attack -> how a leaderboard calls it."""
LOGISTIC = dict(name="logistic")
BEST = dict(rule=dict(name="best"), knows="split")
"""The best column on the known images."""
WEIGHED = dict(rule=LOGISTIC, knows="split")
"""All columns, as the known images weigh them."""
_COLUMN = dict(rule=dict(name="column"))
_MEAN = dict(rule=dict(name="mean"))
_MEAN = dict(rule=dict(name="mean"))
_DENSITY = dict(rule=dict(name="column", column="log_prob"))
_OF_PAPERS = {
    **dict.fromkeys(("secmi", "pia", "pian", "reconstruct", "probe"), _COLUMN),
    **dict.fromkeys(("likelihood", "coarse"), _DENSITY),
    **dict.fromkeys(("clid", "gsa", "roots", "looks"), WEIGHED),
    **dict.fromkeys(("pfami", "mirror", "peak", "errors"), _MEAN),
}
"""Signal -> its paper's rule, or the one for many columns."""


def titled(names: Iterable[str], **others: str) -> dict[str, str]:
    """These attacks and how they are called; `others` are called so here alone."""
    return {name: others.get(name, CALLED.get(name, name)) for name in names}


def ruled(names: Iterable[str]) -> dict[str, dict]:
    """Each signal by its paper's rule, or by its best column on the known images."""
    return {name: dict(signals=name, **_OF_PAPERS.get(name, BEST)) for name in names}


def cross_fit(permutations: int) -> dict:
    """Every image judged by a fit that did not see it."""
    scheme = dict(name="cross_fit", permutations=permutations)
    return dict(knows="split", scheme=scheme)


ALONG = dict(
    mirror=dict(name="peak", copies=("flip",)),
    peak=dict(name="peak"),
    errors=dict(name="terms", kinds=("error",), logs=True),
    copies=dict(
        name="peak", apart=True, log_snrs=(5.0, 3.0, 1.0),
        copies=("flip", "left", "up", "down"),
    ),
    terms=dict(name="terms", logs=True),
)  # fmt: skip
"""Signals of a few evaluations along log-SNR."""
UNKNOWING = ("mirror", "peak", "errors")
"""Those whose columns are averaged as they are: nothing need be known."""


def along(permutations: int) -> dict[str, dict]:
    """Attacks on `ALONG`: the plain ones, and those that weigh, cross-fitted."""
    weighed = dict(rule=dict(name="discriminant"), **cross_fit(permutations))
    return {
        **ruled(UNKNOWING),
        "learned": dict(signals="copies", **weighed),
        "weighed": dict(signals="terms", **weighed),
    }


def combined(names: Iterable[str], permutations: int) -> dict[str, dict]:
    """All these signals weighed at once: fitted on known images, and cross-fitted."""
    known = dict(signals=[*names], **WEIGHED)
    return dict(known=known, together={**known, **cross_fit(permutations)})
