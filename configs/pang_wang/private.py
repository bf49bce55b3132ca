"""Pang & Wang's defence at mini size: the fine-tuning by DP-SGD, epsilon = 10.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py study --config=configs/pang_wang/mini.py --workdir=runs/pang_wang
    python launch.py study --config=configs/pang_wang/private.py --workdir=runs/private

The same base, fine-tuned in private, beside mini.py's target, which is read from
runs/pang_wang; both attacked by the same mean over tokens. The last command takes about
an hour on two CPU cores: each image's gradient of six million weights is clipped by
itself. Needs the extras `encoders` and `dp`.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

varied = run_path(str(Path(__file__).with_name("ablations.py")))
EPSILON = 10.0


def get_config(arg: str = "") -> ConfigDict:
    plain = varied["attack"](varied["tuned"](arg), {"m-1": dict(m=1)}, arg)
    private = varied["trained"](arg, epsilon=EPSILON)
    return ConfigDict(
        dict(
            title="The fine-tuning, in private",
            audits=dict(plain=plain, dp=private),
            labels=dict(plain="fine-tuned", dp=f"DP-SGD, ε = {EPSILON:g}"),
            exhibits=dict(attacks=dict(name="attack_table")),
        )
    )
