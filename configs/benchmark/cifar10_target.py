"""A small DDPM trained here on 5,000 images of CIFAR-10: the benchmark's colour target.

    score-mia train --config=configs/benchmark/cifar10_target.py:FILE \
        --workdir=runs/cifar10/target

FILE: an npz file with `images` [N, 32, 32, 3], uint8, in the official order, as
`python -m score_mia.data.cifar` makes it; by default cifar10.npz. Members are the first
5,000 images of the training set; non-members are taken from its second half.
`cifar10.py` attacks the snapshots.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

cifar = run_path(str(Path(__file__).with_name("_cifar10.py")))


def get_config(arg: str = "") -> ConfigDict:
    return cifar["target"](arg)
