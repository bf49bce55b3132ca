"""Are small attacks as strong as their prototypes were? Two targets, one grid of times.

    python launch.py study --config=configs/benchmark/prototypes.py \
        --workdir=runs/prototypes

`whole` has 64 members and 600 passes over them, `half` 128 and 400: the quickstart's
images, with a network that is twice as wide and DDPM's own training, as the prototypes
had them. Half of all images are known, the others are judged.
About 40 minutes on two CPU cores.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
_quickstart = run_path(str(HERE.with_name("quickstart.py")))["get_config"]
_attacks = run_path(str(HERE / "_attacks.py"))

FIXED = (60.0, 100.0, 143.0)
"""Times at which the loss is read once."""
TITLES = {
    "once_60": "Loss at step 60, one evaluation",
    "once_100": "Loss at step 100, one evaluation",
    "once_143": "Loss at step 143, one evaluation",
    "four_100": "Loss at step 100, 4 noises",
    **{name: _attacks["CALLED"][name] for name in ("loss", "loss_mc", "sima")},
    "pia": "PIA, best time",
    "secmi": "SecMI, best time",
    "pfami": "PFAMI, best time",
    "loss_mc_weighed": "Loss, 4 noises, logistic",
    "sima_weighed": "SimA, logistic",
    "pia_weighed": "PIA, logistic",
    "secmi_weighed": "SecMI, logistic",
    "all_weighed": "All of these columns, logistic",
    "likelihood": "Likelihood",
}


def signals(smoke: bool) -> dict:
    """What is read: 21 times by each signal, SecMI's where it goes upwards."""
    times, draws = (3, 1) if smoke else (21, 4)
    levels = (100, 200) if smoke else tuple(range(20, 441, 20))
    return dict(
        once=dict(name="loss", times=FIXED),
        four=dict(name="loss", times=(100.0,), draws=draws),
        loss=dict(name="loss", times=times),
        loss_mc=dict(name="loss", times=times, draws=draws),
        sima=dict(name="sima", times=times),
        pia=dict(name="pia", times=times),
        secmi=dict(name="secmi", levels=levels),
        pfami=dict(name="pfami", times=times, neighbours=1),
        likelihood=dict(name="likelihood", probes=1, evaluations=6 if smoke else 32),
    )


def attacks() -> dict:
    """One fixed time, the best time on known images, and all times weighed."""
    weighed = _attacks["WEIGHED"]
    made = {
        f"once_{time:g}": dict(
            signals="once", rule=dict(name="column", column=f"loss@{time:g}")
        )
        for time in FIXED
    }
    made["four_100"] = dict(signals="four", rule=dict(name="column"))
    every = ["loss", "loss_mc", "sima", "pia", "secmi", "pfami"]
    for name in every:
        made[name] = dict(signals=name, **_attacks["BEST"])
    for name in ("loss_mc", "sima", "pia", "secmi"):
        made[f"{name}_weighed"] = dict(signals=name, **weighed)
    made["all_weighed"] = dict(signals=every, **weighed)
    return made | _attacks["ruled"](["likelihood"])


def audit(title: str, smoke: bool) -> ConfigDict:
    """These attacks on the target of the prototypes."""
    made = _quickstart("smoke" if smoke else "")
    made.title = title
    for field in ("time_law", "own_law"):
        del made.train[field]
    if not smoke:
        made.network.features = made.network.groups = 32
        made.train.steps, made.train.learning_rate = 1200, 1e-3
    made.signals = ConfigDict(signals(smoke))
    made.attacks = ConfigDict(attacks())
    made.report = ConfigDict(dict(samples=0, grid_check=0))
    return made


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    half = audit("Half memorised", smoke)
    if not smoke:
        half.split.members, half.split.nonmembers, half.train.steps = 128, 800, 1600
    return ConfigDict(
        dict(
            title="Small attacks, on a target memorised wholly and one by half",
            audits=dict(whole=audit("Wholly memorised", smoke), half=half),
            exhibits=dict(attacks=dict(name="attack_table", attacks=TITLES)),
        )
    )
