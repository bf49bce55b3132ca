"""A text model of another family: another process and network, the same emoji.

python launch.py train --config=configs/text/other.py --workdir=runs/text/other

Half as wide as configs/text/pretrain.py's, and of the variance-preserving process. It
is the base of an attacker's shadow who does not know what the target was tuned from.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

pretrain = run_path(str(Path(__file__).parent / "pretrain.py"))


def get_config(arg: str = "") -> ConfigDict:
    config = pretrain["get_config"](arg)
    config.title = "A text model of another family"
    config.sde = ConfigDict(dict(name="vp"))
    config.network.features = 16 if arg == "smoke" else 32
    config.network.multipliers = (1, 2, 3)
    config.train.weighting = "noise"
    return config
