"""A text-conditional model of 918 captioned emoji, to be fine-tuned on others.

python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
"""

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    return ConfigDict(
        dict(
            title="A text-conditional model of 918 captioned emoji",
            seed=0,
            data=dict(name="bundled", dataset="emoji"),
            split=dict(name="folders", members="pretrain", nonmembers="nonmembers"),
            sde=dict(name="edm", sigma_min=0.01, sigma_max=40.0),
            codec=dict(name="pooled", side=2),
            network=dict(
                name="captioned",
                vocabulary=1606,
                features=16 if smoke else 64,
                multipliers=(1, 2, 2),
                blocks=1,
                attention=(8,),
                groups=8,
                dropout=0.0,
                sketch=8,
            ),
            conditioner=dict(name="words", vocabulary="emoji", cut=True),
            train=dict(
                steps=20 if smoke else 4000,
                batch=16,
                learning_rate=1e-3,
                warmup=200,
                decay=0 if smoke else 1000,
                ema=0.999,
                flip=False,
                weighting="edm",
                time_law="log_snr",  # what a caption says is learned at high noise
                condition_dropout=0.1,
                log_every=10 if smoke else 50,
                checkpoint_every=10 if smoke else 500,
                snapshot_every=10 if smoke else 2000,
            ),
            attacks=dict(
                loss=dict(
                    signal=dict(name="loss", times=5 if smoke else 20),
                    rule=dict(name="best"),
                    knows="split",
                ),
            ),
            sampler=dict(name="heun", steps=18),
            engine=dict(tile=16, shard=64),
            report=dict(samples=16, pictures=True),
        )
    )
