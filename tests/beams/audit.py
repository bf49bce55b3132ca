"""A whole tiny audit: attacks of the package, and of others from outside it."""

from __future__ import annotations

from ml_collections import ConfigDict

PARTS = "tests.beams.parts"
LOGISTIC = dict(name=f"{PARTS}.logistic:Logistic")


def get_config(arg: str = "") -> ConfigDict:
    """The white box; with `:service` the black one."""
    if arg == "service":
        return service()
    return ConfigDict(
        dict(
            title="beams",
            data=dict(name="bundled", dataset="digits"),
            split=dict(name="shuffled", members=40, nonmembers=60, reference=0.5),
            sde=dict(name="ddpm"),
            network=dict(name="mlp", features=32, blocks=1),
            train=dict(
                steps=60,
                batch=8,
                learning_rate=1e-3,
                warmup=5,
                log_every=20,
                checkpoint_every=60,
            ),
            signals=dict(
                loss=dict(name="loss", times=(200.0,)),
                pia=dict(name="pia", times=(200.0,)),
            ),
            attacks=dict(
                secmi=dict(signal=dict(name="secmi", levels=(200,), step=50)),
                pia=dict(signals="pia"),
                both=dict(signals=["loss", "pia"], rule=LOGISTIC, knows="split"),
                gsa=dict(
                    signal=dict(name="gsa", times=4),
                    rule=LOGISTIC,
                    knows="split",
                ),
                recon=dict(
                    signal=dict(name=f"{PARTS}.recon:Recon", draws=2),
                    rule=dict(name="column", column="nearest"),
                ),
                lira=dict(
                    signals="loss",
                    rule=dict(name="lira"),
                    knows="shadows",
                ),
                blind=dict(
                    signal=dict(name=f"{PARTS}.blind:Blind"),
                    rule=LOGISTIC,
                    knows="split",
                ),
            ),
            shadows=dict(count=4, overlap=0.5),
            sampler=dict(name="ddim", steps=4),
            engine=dict(tile=10, shard=50, devices=1),
            report=dict(samples=0, replicates=100, grid_check=0),
        )
    )


def flow() -> ConfigDict:
    """Another process, in the space of a codec with parameters; the rest as above."""
    config = get_config()
    config.unlock()
    config.sde = dict(name=f"{PARTS}.flow:Flow")
    config.codec = dict(name=f"{PARTS}.codec:patches", seed=1)
    del config.signals, config.shadows
    config.attacks = dict(
        loss=dict(
            signal=dict(name="loss", times=5), rule=dict(name="best"), knows="split"
        ),
    )
    return config


def service() -> ConfigDict:
    """A black box: of the target there is nothing but an address."""
    config = get_config()
    config.unlock()
    for section in ("sde", "network", "train", "sampler", "signals", "shadows"):
        del config[section]
    config.data = dict(name="tests.beams.service:captioned")
    config.target = dict(name="client", call=f"{PARTS}.recon:client", prompt="caption")
    kept = config.attacks.recon, config.attacks.blind
    config.attacks = dict(zip(("recon", "blind"), kept, strict=True))
    return config
