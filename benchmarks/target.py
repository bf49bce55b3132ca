"""Targets for the likelihood benchmark: a continuous VP process, trained for minutes.

    CONFIG=benchmarks/target.py
    python launch.py train --config=$CONFIG:small --workdir=runs/bench-small
    python launch.py train --config=$CONFIG:large --workdir=runs/bench-large

"small": nf=32 at 16x16, about 2 minutes on 2 CPU cores; "large": nf=64 at 64x64, about
10. They are trained just long enough for their ODE to be as stiff as a real one's.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs.quickstart import get_config as quickstart


def get_config(arg: str = "small") -> ConfigDict:
    """The quickstart's data with a VP process and the network of the size asked for."""
    config = quickstart().unlock()
    large = arg == "large"
    config.title = f"Benchmark target ({arg})"
    config.sde = {"name": "vp", "beta_min": 0.1, "beta_max": 20.0}
    config.data.size = 64 if large else 16
    config.network.features = 64 if large else 32
    config.network.multipliers = (1, 2, 2, 2) if large else (1, 2, 2)
    config.network.attention = (16,) if large else (8,)
    del config.network.groups  # the authors' network has score_sde's own number
    config.train.steps = 150 if large else 600
    config.train.batch = 8 if large else 32
    return config
