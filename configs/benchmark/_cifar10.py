"""The benchmark's target of CIFAR-10, and the attacks on its snapshots."""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

_attacks = run_path(str(Path(__file__).with_name("_attacks.py")))
ruled, along, cross_fit = (_attacks[n] for n in ("ruled", "along", "cross_fit"))
ALONG = _attacks["ALONG"]

MEMBERS, JUDGED, KNOWN, HALF = 5000, 1000, 500, 25_000
"""Members, how many of either group are judged and known, the first non-member."""
STEPS, EVERY, BATCH = 8000, 2000, 32
CHEAP = ("loss", "pia", "sima", "peak", "learned")
"""Attacks that are made on every snapshot."""


def words(arg: str) -> tuple[str, bool]:
    """The file of images, and whether numbers may mean nothing."""
    smoke = arg.endswith("smoke")
    return arg.removesuffix("smoke").removesuffix(",") or "cifar10.npz", smoke


def counts(smoke: bool) -> tuple[int, int, int]:
    """Members, judged ones and known ones of either group."""
    return (40, 16, 8) if smoke else (MEMBERS, JUDGED, KNOWN)


def length(smoke: bool) -> tuple[int, int, int]:
    """Steps of the training, steps between snapshots, images of a step."""
    return (20, 5, 8) if smoke else (STEPS, EVERY, BATCH)


def levels(smoke: bool) -> dict[str, int]:
    """How exhibits call the snapshots halfway and last -> training step."""
    last, _, batch = length(smoke)
    members = counts(smoke)[0]
    return {f"{n * batch // members} passes": n for n in (last // 2, last)}


def folder(smoke: bool) -> str:
    """Where the target is trained."""
    return f"runs/{'smoke-' if smoke else ''}cifar10/target"


def _data(arg: str) -> dict:
    """Sections `data` and `split`: who is trained on, and whom attacks read."""
    file, smoke = words(arg)
    members, judged, known = counts(smoke)
    split = dict(
        name="listed",
        members=[f"0:{judged}"],
        reference_members=[f"{judged}:{judged + known}"],
        unjudged=[f"{judged + known}:{members}"],
        nonmembers=[f"{HALF}:{HALF + judged}"],
        reference_nonmembers=[f"{HALF + judged}:{HALF + judged + known}"],
    )
    return dict(data=dict(name="arrays", path=file), split=split)


def target(arg: str) -> ConfigDict:
    """The training run; its one attack needs nothing known."""
    smoke = words(arg)[1]
    steps, every, batch = length(smoke)
    network = dict(
        name="ddpm", features=16, multipliers=(1, 2, 4, 8), blocks=1, attention=(8,),
        groups=8, dropout=0.0, centered=True,
    )  # fmt: skip
    return ConfigDict(
        dict(
            title="A DDPM of 5,000 images of CIFAR-10",
            seed=0,
            **_data(arg),
            sde=dict(name="ddpm", beta_min=0.1, beta_max=20.0, steps=1000),
            network=network,
            train=dict(
                steps=steps,
                batch=batch,
                learning_rate=1e-3,
                warmup=200,
                ema=0.999,
                flip=False,
                log_every=10 if smoke else 50,
                checkpoint_every=10 if smoke else 500,
                snapshot_every=every,
            ),
            signals=dict(loss=dict(name="loss", times=(200,))),
            attacks=dict(loss=dict(signals="loss", rule=dict(name="column"))),
            engine=dict(tile=32, shard=256),
            report=dict(samples=0, pictures=False),
        )
    )


def _signals(smoke: bool) -> dict:
    """What grey-box attacks read."""
    few = 2 if smoke else 10
    return dict(
        loss=dict(name="loss", times=few),
        secmi=dict(name="secmi"),
        pia=dict(name="pia"),
        pian=dict(name="pia", normalised=True),
        sima=dict(name="sima", times=few),
        dispersion=dict(name="dispersion"),
        pfami=dict(name="pfami", neighbours=2),
        **ALONG,
    )


def _rules(smoke: bool) -> dict:
    """Each signal by its paper's rule, and all of them together."""
    permutations = 2 if smoke else 20
    signals = _signals(smoke)
    made = ruled(name for name in signals if name not in ALONG) | along(permutations)
    every = [name for name in signals if name not in ("mirror", "peak")]
    weighed = dict(rule=dict(name="ridge"), **cross_fit(permutations))
    return {**made, "together": dict(signals=every, **weighed)}


def attacked(arg: str, level: str, whole: bool) -> ConfigDict:
    """Attacks on one snapshot: all of them, or the cheap ones."""
    smoke = words(arg)[1]
    return ConfigDict(
        dict(
            title=f"A DDPM of 5,000 images of CIFAR-10, {level}",
            seed=0,
            **_data(arg),
            target=dict(name="kept", folder=folder(smoke), step=levels(smoke)[level]),
            signals=_signals(smoke),
            attacks={k: v for k, v in _rules(smoke).items() if whole or k in CHEAP},
            sampler=dict(name="ddim", steps=50),
            engine=dict(tile=32, shard=256),
            report=dict(samples=64 if whole and not smoke else 0, pictures=False),
        )
    )
