"""A whole audit in seconds: a perceptron on scikit-learn's digits."""

from __future__ import annotations

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        dict(
            title="tiny",
            data=dict(name="bundled", dataset="digits"),
            split=dict(name="shuffled", members=24, nonmembers=40, reference=0.5),
            sde=dict(name="ddpm"),
            network=dict(name="mlp", features=32, blocks=1),
            train=dict(
                steps=60,
                batch=8,
                learning_rate=1e-3,
                warmup=5,
                log_every=10,
                checkpoint_every=20,
            ),
            attacks=dict(
                loss=dict(
                    signal=dict(name="loss", times=4),
                    rule=dict(name="best"),
                    knows="split",
                ),
                likelihood=dict(
                    signal=dict(name="likelihood", probes=1, evaluations=6)
                ),
            ),
            sampler=dict(name="ddim", steps=4),
            engine=dict(tile=4, shard=16, devices=1),
            report=dict(samples=4, replicates=100, grid_check=0),
        )
    )
