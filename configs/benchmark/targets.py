"""The benchmark's targets: train these first.

    python launch.py study --config=configs/benchmark/targets.py \
        --workdir=runs/benchmark/targets

Five processes, three seeds, about five minutes each on two CPU cores;
`targets.py:ddpm,0` trains one of them, `targets.py:smoke` all in a minute, to mean
nothing (into runs/benchmark/smoke-targets). `targets.py:text` fine-tunes the text model
of configs/text, whose base must be there. Each keeps its snapshots; the one attack
tells what it came to.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
base = run_path(str(HERE / "_base.py"))


def get_config(arg: str = "") -> ConfigDict:
    names, seeds, smoke = base["chosen"](arg)
    audits = {
        f"{name}-{seed}": base["trained"](name, seed, smoke)
        for name in names
        if name != "digits"
        for seed in seeds
    }
    return ConfigDict(dict(title="Targets of the benchmark", audits=audits))
