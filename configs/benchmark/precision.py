"""What bfloat16 costs an attack: the same target read twice.

    python launch.py study --config=configs/benchmark/targets.py:ddpm,0 \
        --workdir=runs/benchmark/targets
    python launch.py study --config=configs/benchmark/precision.py \
        --workdir=runs/benchmark/precision

Reads cheap attacks off the half and the wholly memorised DDPM in float32 and in
bfloat16 (`engine.precision`), the same images with the same noise, and shows how much
AUC each gains or loses, with a paired interval. About four minutes an audit on a CPU
core (bfloat16, which a CPU only imitates, takes no less). `precision.py:half` takes one
level; `precision.py:smoke` means nothing.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
base = run_path(str(HERE / "_base.py"))
ruled = base["ruled"]
PRECISIONS = ("float32", "bfloat16")
READ = ("half", "memorised")
TITLES = base["titled"](("loss", "sima", "pia", "secmi", "coarse"))


def signals(smoke: bool) -> dict:
    """A few of the benchmark's: no noise, one noise, a difference, a derivative."""
    times = 2 if smoke else 10
    return dict(
        loss=dict(name="loss", times=times),
        sima=dict(name="sima", times=times),
        pia=dict(name="pia"),
        secmi=dict(name="secmi"),
        coarse=dict(name="likelihood", probes=1, evaluations=8, method="heun"),
    )


def read(level: str, precision: str, smoke: bool) -> ConfigDict:
    """One target in one precision."""
    step, where = base["levels"]("ddpm", smoke)[level], base["folder"]("ddpm", 0, smoke)
    common = dict(base["COMMON"])
    common["engine"] = dict(common["engine"], precision=precision)
    return ConfigDict(
        dict(
            common,
            **base["images"](0, smoke),
            title=f"DDPM, {level}, read in {precision}",
            seed=0,
            target=dict(name="kept", folder=where, step=step),
            signals=signals(smoke),
            attacks=ruled(signals(smoke)),
        )
    )


def get_config(arg: str = "") -> ConfigDict:
    words = [word for word in arg.split(",") if word]
    smoke, levels = "smoke" in words, [w for w in words if w != "smoke"] or [*READ]
    unknown = {*levels} - {*base["LEVELS"]}
    if unknown:
        raise ValueError(f"{sorted(unknown)} is unknown; known: {[*base['LEVELS']]}")
    audits = {f"{k}-{p}": read(k, p, smoke) for k in levels for p in PRECISIONS}
    pairs = {level: [f"{level}-{p}" for p in PRECISIONS] for level in levels}
    shown = dict(name="differences", pairs=pairs, attacks=TITLES)
    shown["title"] = "AUC in float32, in bfloat16, and what is gained"
    return ConfigDict(
        dict(
            title="What bfloat16 costs an attack",
            audits=audits,
            exhibits=dict(differences=shown),
        )
    )
