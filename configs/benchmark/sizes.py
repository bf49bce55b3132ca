"""Attacks against the size of the training set, at one length of the training.

    python launch.py study --config=configs/benchmark/sizes.py --workdir=runs/sizes

The benchmark's DDPM, trained for 2,500 steps of 32 on 100 to 1,600 images: 800 passes
over the few, 50 over the many. Half of the members and of the 600 non-members are
known, the others are judged. About 40 minutes of one CPU core.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

base = run_path(str(Path(__file__).with_name("_base.py")))
STEPS = 2500
MEMBERS = (100, 200, 400, 800, 1600)
READ = ("loss", "sima", "rediffuse", "gsa", "coarse")
"""Signals, whose attacks have their names."""


def audit(members: int, smoke: bool) -> ConfigDict:
    """One target: its training, and a few attacks on it."""
    made = base["trained"]("ddpm", 0, smoke)
    made.title = f"Benchmark: DDPM, {members:,} members"
    if not smoke:
        made.split.members = members
        made.train.steps = STEPS
    made.train.snapshot_every = None
    signals, attacks = base["signals"](smoke), base["attacks"](smoke)
    made.signals = ConfigDict({name: signals[name] for name in READ})
    made.attacks = ConfigDict({name: attacks[name] for name in READ})
    return made


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    sizes = MEMBERS[:2] if smoke else MEMBERS
    curves = {
        base["TITLES"][name]: [(size, f"members-{size}", name) for size in sizes]
        for name in READ
    }
    return ConfigDict(
        dict(
            title="The size of the training set",
            audits={f"members-{size}": audit(size, smoke) for size in sizes},
            labels={f"members-{size}": f"{size:,} members" for size in sizes},
            exhibits=dict(
                size=dict(
                    name="attack_curve",
                    curves=curves,
                    across="members",
                    logarithmic=True,
                    title="Attacks by the size of the training set",
                ),
                attacks=dict(
                    name="attack_table",
                    attacks={name: base["TITLES"][name] for name in READ},
                ),
            ),
        )
    )
