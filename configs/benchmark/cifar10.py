"""The field's grey-box attacks on a small DDPM of 5,000 images of CIFAR-10.

    score-mia train --config=configs/benchmark/cifar10_target.py:FILE \
        --workdir=runs/cifar10/target
    score-mia study --config=configs/benchmark/cifar10.py:FILE --workdir=runs/cifar10

FILE: the npz file that the target was trained on. 1,000 members and as many non-members
are judged, 500 and 500 others are known. All attacks are made on the last snapshot, the
cheap ones also halfway.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
cifar = run_path(str(HERE / "_cifar10.py"))
base = run_path(str(HERE / "_base.py"))


def get_config(arg: str = "") -> ConfigDict:
    levels = cifar["levels"](cifar["words"](arg)[1])
    half, last = (f"passes-{level.split()[0]}" for level in levels)
    names = dict(zip(levels, (half, last), strict=True))
    audits = {
        name: cifar["attacked"](arg, level, name == last)
        for level, name in names.items()
    }
    called = {**base["TITLES"], "together": "All combined, cross-fitted"}
    published = base["PUBLISHED"]
    leaderboard = dict(
        name="leaderboard",
        attacks={name: called[name] for name in audits[last].attacks},
        levels={level: [name] for level, name in names.items()},
        published={k: published[k] for k in audits[last].attacks if k in published},
    )
    steps = dict(
        name="attack_curve",
        curves={
            called[attack]: [(levels[k], name, attack) for k, name in names.items()]
            for attack in audits[half].attacks
        },
        across="training steps",
        title="Attacks by the length of the training: CIFAR-10",
    )
    return ConfigDict(
        dict(
            title="CIFAR-10, a small DDPM of 5,000 images",
            audits=audits,
            labels={name: level for level, name in names.items()},
            exhibits=dict(leaderboard=leaderboard, steps=steps),
        )
    )
