"""Candidates for the lesson of configs/laion_mi/lessons.py, and their sanitisation.

    python launch.py sanitise --config=configs/laion_mi/pools.py --workdir=runs/pools

The small text model was pre-trained on 918 emoji. Those of them are named as members
that are bright, and of 950 others those as candidates that are dark: with the
probability 1 / (1 + exp(1.5 z)), z being the mean brightness in standard deviations. A
picture with little ink is easy to denoise, whoever trained on it. Ten seconds on two
CPU cores.
"""

from pathlib import Path
from runpy import run_path

import numpy as np
from ml_collections import ConfigDict

more_often = run_path(str(Path(__file__).parent / "sanitise.py"))["more_often"]
TRAINED = "pretrain/"


def names() -> tuple[list[str], list[str], list[str]]:
    """Files of the named members, of all others of the training set, of candidates."""
    source, dark = more_often(-1.5)
    files = np.asarray(source.columns(source.ids, ("file",))["file"])
    trained = np.char.startswith(files, TRAINED)
    parts = (trained & ~dark, trained & dark, ~trained & dark)
    return tuple(files[part].tolist() for part in parts)


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    members, others, candidates = names()
    return ConfigDict(
        dict(
            title="Emoji, members brighter than candidates",
            seed=2022,
            data=dict(name="bundled", dataset="emoji"),
            members=dict(listed=members),
            nonmembers=dict(listed=candidates),
            encoder=dict(name="random_conv"),
            duplicates=dict(threshold=0.02, neighbours=dict(listed=members + others)),
            rounds=dict(
                classifiers=["linear"] if smoke else ["linear", "linear", "mlp"],
                features=["image"],
                components=8,
                shares=[0.34, 0.33, 0.33],
                permutations=99 if smoke else 999,
            ),
            report=dict(pairs=0, bins=[0.0, 0.02]),
        )
    )
