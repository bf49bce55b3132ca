"""LAION-mi's procedure (Dubiński et al. 2024, 2306.12983) on pools that carry a shift.

    python launch.py sanitise --config=configs/laion_mi/sanitise.py \
        --workdir=runs/sanitise

The pools are made of the bundled emoji, and differ by intention: a picture is a member
with a probability that rises with its brightness, 1 / (1 + exp(-z)), where z is its
mean in standard deviations. A classifier that sees nothing but pictures tells them
apart with an AUC of 0.7; after the rounds it finds no difference. Emoji of one family
(a waving hand in six skins) fall into both pools, so that there are near-duplicates to
drop. Ten seconds on two CPU cores; `:smoke` takes fewer.
"""

import numpy as np
from ml_collections import ConfigDict

from score_mia.data.local import bundled
from score_mia.data.source import Source


def more_often(slope: float, seed: int = 0) -> tuple[Source, np.ndarray]:
    """The emoji, and which are drawn: bright ones more often, or less (slope < 0)."""
    source = bundled("emoji")
    brightness = source.images(source.ids).mean(axis=(1, 2, 3), dtype=np.float64)
    z = (brightness - brightness.mean()) / brightness.std()
    chance = np.random.RandomState(seed).random_sample(len(z))
    return source, chance < 1 / (1 + np.exp(-slope * z))


def shifted(slope: float = 1.0, seed: int = 0) -> dict[str, list[int]]:
    """Ids of either pool: bright pictures are members more often than dark ones."""
    source, member = more_often(slope, seed)
    return {
        "members": source.ids[member].tolist(),
        "nonmembers": source.ids[~member].tolist(),
    }


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    pools = shifted()
    return ConfigDict(
        dict(
            title="Emoji, members brighter than non-members",
            seed=2022,
            data=dict(name="bundled", dataset="emoji"),
            members=dict(listed=pools["members"]),
            nonmembers=dict(listed=pools["nonmembers"]),
            encoder=dict(name="pixels" if smoke else "random_conv"),
            # Of these encoders; 0.5 is for CLIP (docs/sanitise.md).
            duplicates=dict(threshold=0.02),
            rounds=dict(
                classifiers=["linear"] if smoke else ["linear", "linear", "mlp"],
                features=["image"],
                components=8,  # of 1,868 images: more would be learned by heart
                permutations=99 if smoke else 999,
            ),
            report=dict(pairs=20, bins=[0.0, 0.02, 0.05, 0.1, 0.2, 0.5]),
        )
    )
