"""Quickstart: a DDPM that memorises 64 real images, both attacks of Hu & Pang 2023.

    make audit
    (python launch.py audit --config=configs/quickstart.py --workdir=runs/quickstart)

Fashion-MNIST at 16x16 (bundled with the package), 2 CPU cores, some 4 minutes.
`--config=configs/quickstart.py:smoke` runs every stage in under a minute, with numbers
that mean nothing.
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    return ConfigDict(
        dict(
            title="Quickstart: a DDPM trained on 64 Fashion-MNIST images",
            seed=0,
            data=dict(name="bundled", dataset="fashion_mnist", size=16),
            split=dict(
                name="shuffled",
                members=16 if smoke else 64,
                nonmembers=60 if smoke else 400,
                reference=0.5,
                seed=2022,
            ),
            sde=dict(name="ddpm", beta_min=0.1, beta_max=20.0, steps=1000),
            network=dict(
                name="ddpm",
                features=16,
                multipliers=(1, 2) if smoke else (1, 2, 2),
                blocks=1,
                attention=(8,),
                groups=4 if smoke else 8,
                dropout=0.0,
            ),
            train=dict(
                steps=20 if smoke else 800,
                batch=32,
                learning_rate=2e-3,
                warmup=100,
                ema=0.995,
                flip=False,
                # Half of the draws where memory shows, which is a third of DDPM's own
                # steps; the others everywhere, so that samples can be drawn.
                time_law="log_normal",
                own_law=0.5,
                log_every=10 if smoke else 50,
                checkpoint_every=10 if smoke else 250,
            ),
            attacks=dict(
                loss=dict(
                    signal=dict(name="loss", times=5 if smoke else 25),
                    rule=dict(name="best"),
                    knows="split",
                ),
                likelihood=dict(
                    signal=dict(
                        name="likelihood",
                        probes=1,
                        evaluations=6 if smoke else 64,
                    ),
                    rule=dict(name="column", column="log_prob"),
                ),
            ),
            sampler=dict(name="ancestral", steps=10 if smoke else 100),
            engine=dict(tile=16, shard=64),
            report=dict(
                samples=8 if smoke else 32,
                grid_check=0 if smoke else 2,
                pictures=True,  # clothes, and public ones: these may be shown
            ),
        ),
    )
