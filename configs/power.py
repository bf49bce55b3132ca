"""Attack power per network evaluation, on the benchmark's targets.

    score-mia study --config=benchmark/targets --workdir=runs/benchmark/targets
    score-mia study --config=power --workdir=runs/power

Each attack of grey and white boxes, against what an image costs it: AUC, TPR at 1 %
FPR, and how far the learned attack is ahead of it on the same images. Its argument is
that of `targets.py`: `power:ddpm,0` takes one target's three levels. What knows images
is cross-fitted on 200 members and 600 non-members; compared are the half of them that
every attack judged.
About 5 minutes a level on two CPU cores. docs/learned.md has the results.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent / "benchmark"
base = run_path(str(HERE / "_base.py"))
_attacks = run_path(str(HERE / "_attacks.py"))
_power = run_path(str(HERE / "_power.py"))
ruled, along, cross_fit = (_attacks[n] for n in ("ruled", "along", "cross_fit"))

FITTED = ("loss", "loss_mc", "sima", "pia", "dispersion", "flow")
"""By their best time on known images."""
FIXED = ("secmi", "pian", "pfami", "likelihood", "coarse")
"""By their papers' rules, which know nothing."""
ONE = dict(log_snrs=(2.5,))
"""A level in the middle of where memory shows."""
SMALL = dict(
    once=dict(name="terms", kinds=("error",), draws=1, logs=True, **ONE),
    sima_one=dict(name="terms", kinds=("path",), logs=True, **ONE),
    mirror_one=dict(name="peak", copies=("flip",), **ONE),
    peak_one=dict(name="peak", **ONE),
    terms_one=dict(name="terms", logs=True, **ONE),
)
"""Attacks at one level, which is not chosen on any image."""
TITLES = _attacks["titled"](
    (*SMALL, *FITTED, *FIXED, "errors", "mirror", "peak", "weighed", "learned", "all"),
    once="Loss, one level, one noise",
    sima_one="SimA of order 2, one level",
    mirror_one="Peak, one level, mirror image alone",
    peak_one="Peak, one level",
    terms_one="Likelihood's terms, one level, weighed",
    all="All of these columns, weighed",
)


def signals(smoke: bool) -> dict:
    """What is read, about 300 evaluations an image."""
    every = base["signals"](smoke)
    names = (*FITTED, *FIXED, *_attacks["ALONG"])
    return {**{name: every[name] for name in names}, **SMALL}


def attacks(smoke: bool) -> dict:
    """All attacks; those that know images are cross-fitted."""
    known = cross_fit(2 if smoke else 20)
    plain = dict(rule=dict(name="mean"))
    made = {name: dict(signals=name, **plain) for name in SMALL}
    weighed = dict(rule=dict(name="discriminant"), **known)
    made["terms_one"] = dict(signals="terms_one", **weighed)
    best = dict(rule=dict(name="best"), **known)
    made |= {name: dict(signals=name, **best) for name in FITTED}
    made |= ruled(FIXED) | along(2 if smoke else 20)
    every = [*FITTED, *FIXED, *(n for n in _attacks["ALONG"] if n != "peak")]
    made["all"] = dict(signals=every, rule=dict(name="ridge"), **known)
    return {name: made[name] for name in TITLES}


def get_config(arg: str = "") -> ConfigDict:
    called = "Power per evaluation"
    exhibit = dict(key="power", attacks=TITLES, of="learned", audit=called)
    title = "Attack power per evaluation"
    return _power["study"](arg, title, signals, attacks, exhibit)
