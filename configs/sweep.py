"""The loss at all steps, and what a coarse pass and a fine one have of its power.

    score-mia study --config=benchmark/targets --workdir=runs/benchmark/targets
    score-mia study --config=sweep --workdir=runs/sweep

On the benchmark's half-memorised targets: the loss at 1,000 times, each image once; the
loss spent at the times that one pass over 20 times finds on known images; and at levels
that are fixed for every target. Known are half of all images, the others are judged.
Its argument is that of `targets.py`: `sweep:edm,0` takes one target.
About 15 minutes a target on two CPU cores. docs/learned.md has the results.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent / "benchmark"
_attacks = run_path(str(HERE / "_attacks.py"))
_power = run_path(str(HERE / "_power.py"))
BEST, WEIGHED = (_attacks[name] for name in ("BEST", "WEIGHED"))

TITLES = {
    "once": "Loss, one fixed level, one noise",
    "path": "SimA of order 2, coarse to fine",
    "levels": "Loss, four fixed levels, 4 noises",
    "level": "Loss, one fixed level, 16 noises",
    "fine": "Loss, coarse to fine, 16 noises",
    "fine_band": "Loss, coarse to fine, 4 times, 4 noises",
    "times": "Loss, best of 20 times",
    "times_4": "Loss, 4 noises, best of 20 times",
    "sweep": "Loss, best of 1,000 times",
    "sweep_mean": "Loss, mean of 1,000 times, scaled",
    "sweep_weighed": "Loss, 1,000 times, weighed",
}
ERROR = dict(name="terms", kinds=("error",), logs=True)
"""The loss with noises that all images share, in pairs of a noise and minus it."""


def signals(smoke: bool) -> dict:
    """What is read."""
    few, draws = (3, 2) if smoke else (20, 16)
    loss = dict(ERROR, draws=draws)
    quarter = dict(ERROR, draws=max(1, draws // 4))
    path = dict(name="terms", kinds=("path",), logs=True)
    return dict(
        once=dict(ERROR, log_snrs=(2.5,), draws=1),
        path=dict(name="refined", signal=path, times=few),
        levels=dict(quarter, log_snrs=(4.0, 3.0, 2.0, 1.0)),
        level=dict(loss, log_snrs=(2.5,)),
        fine=dict(name="refined", signal=loss, times=few),
        fine_band=dict(name="refined", signal=quarter, times=few, keep=min(few, 4)),
        times=dict(name="loss", times=few),
        times_4=dict(name="loss", times=few, draws=max(1, draws // 4)),
        sweep=dict(name="loss", times=6 if smoke else 1000),
    )


def attacks(smoke: bool) -> dict:
    """Each by its rule; all know the known images, but for fixed levels."""
    plain = dict(rule=dict(name="mean"))
    mean = dict(plain, knows="split")
    only = dict(rule=dict(name="column"), knows="split")
    rules = dict(
        **dict.fromkeys(("once", "level", "levels"), plain),
        **dict.fromkeys(("path", "fine"), only),
        fine_band=mean,
        **dict.fromkeys(("times", "times_4", "sweep"), BEST),
    )
    made = {name: dict(signals=name, **rule) for name, rule in rules.items()}
    made["sweep_mean"] = dict(signals="sweep", **mean)
    made["sweep_weighed"] = dict(signals="sweep", **WEIGHED)
    return {name: made[name] for name in TITLES}


def get_config(arg: str = "") -> ConfigDict:
    exhibit = dict(key="sweep", attacks=TITLES, of="fine", levels=("half",))
    title = "The full sweep, and what costs less"
    return _power["study"](arg, title, signals, attacks, exhibit)
