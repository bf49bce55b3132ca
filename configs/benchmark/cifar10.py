"""A small DDPM trained here on 5,000 images of CIFAR-10, and the field's attacks on it.

    score-mia audit --config=configs/benchmark/cifar10.py:FILE --workdir=runs/cifar10

FILE: an npz file with `images` [N, 32, 32, 3], uint8, in the official order, as
`python -m score_mia.data.cifar` makes it; by default cifar10.npz. Members are the first
5,000 images; of the second half of the training set 1,500 are non-members. 1,000 and
1,000 are judged, the others are reference. 77 passes over the members, two hours on two
idle CPU cores; snapshots after a quarter, a half and three quarters.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

_attacks = run_path(str(Path(__file__).with_name("_attacks.py")))
ruled, along, ALONG = (_attacks[name] for name in ("ruled", "along", "ALONG"))

MEMBERS, JUDGED, HALF = 5000, 1000, 25_000
STEPS = 12_000


def network(smoke: bool) -> dict:
    """A DDPM of 1.2 million weights."""
    return dict(
        name="ddpm",
        features=16 if smoke else 32,
        multipliers=(1, 2, 2),
        blocks=1,
        attention=(8,),
        groups=8,
        dropout=0.0,
    )


def signals(smoke: bool) -> dict:
    """What grey-box attacks read."""
    times = 3 if smoke else 20
    return dict(
        loss=dict(name="loss", times=times),
        secmi=dict(name="secmi"),
        pia=dict(name="pia"),
        pian=dict(name="pia", normalised=True),
        sima=dict(name="sima", times=times),
        dispersion=dict(name="dispersion"),
        pfami=dict(name="pfami"),
        apart=dict(name="secmi", pixels=(32, 32, 3)),
        **ALONG,
    )


def attacks(smoke: bool) -> dict:
    """Each signal by its paper's rule, and all of them together."""
    made = ruled(name for name in signals(smoke) if name not in ("apart", *ALONG))
    made |= along(2 if smoke else 20)
    head = dict(name="convnet", batch=32, epochs=1 if smoke else 10)
    made["secmi_head"] = dict(signals="apart", rule=head, knows="split")
    every = [name for name in signals(smoke) if name not in ("apart", "mirror", "peak")]
    return {**made, "all": dict(signals=every, rule=dict(name="ridge"), knows="split")}


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg.endswith("smoke")
    file = arg.removesuffix("smoke").removesuffix(",") or "cifar10.npz"
    members, judged = (40, 20) if smoke else (MEMBERS, JUDGED)
    return ConfigDict(
        dict(
            title="A DDPM of 5,000 images of CIFAR-10",
            seed=0,
            data=dict(name="arrays", path=file),
            split=dict(
                name="files",
                members=[*range(judged)],
                reference_members=[*range(judged, members)],
                nonmembers=[*range(HALF, HALF + judged)],
                reference_nonmembers=[*range(HALF + judged, HALF + judged * 3 // 2)],
            ),
            sde=dict(name="ddpm", beta_min=0.1, beta_max=20.0, steps=1000),
            network=network(smoke),
            train=dict(
                steps=20 if smoke else STEPS,
                batch=32,
                learning_rate=1e-3 if smoke else 5e-4,
                warmup=200,
                ema=0.999,
                flip=False,
                log_every=10 if smoke else 50,
                checkpoint_every=10 if smoke else 500,
                snapshot_every=5 if smoke else STEPS // 4,
            ),
            signals=signals(smoke),
            attacks=attacks(smoke),
            sampler=dict(name="ddim", steps=50),
            engine=dict(tile=32, shard=256),
            report=dict(samples=0 if smoke else 64, pictures=False),
        )
    )
