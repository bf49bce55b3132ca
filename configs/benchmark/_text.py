"""The benchmark's text model: that of configs/text, fine-tuned by three seeds.

Its base must be there (configs/text/pretrain.py). It is attacked with each image's own
caption: 188 members and 300 non-members are judged.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

_attacks = run_path(str(Path(__file__).with_name("_attacks.py")))
ruled, combined, titled = (_attacks[n] for n in ("ruled", "combined", "titled"))
ALONG, UNKNOWING, along = (_attacks[n] for n in ("ALONG", "UNKNOWING", "along"))
finetune = run_path(str(Path(__file__).parents[1] / "text" / "finetune.py"))
LEVELS = {"barely": 250, "half": 500, "memorised": 1000}
"""Name -> steps of the fine-tuning: 16, 32 and 64 passes over the members."""
TITLES = titled(
    (
        *("loss", "untold", "secmi", "pia", "pian", "sima", "pfami", "flow", "clid"),
        *("probe", "against", "reconstruct", "rediffuse", "known", "together"),
        *("mirror", "peak", "learned", "errors"),
    ),
    untold="Loss without the caption",
    against="Loss against the base",
)
"""Attack -> how the leaderboard calls it."""
GREY = ("loss", "untold", "secmi", "pia", "pian", "sima", "flow", "clid")
GREY += ("copies", "errors")


def base(smoke: bool) -> str:
    """What was fine-tuned."""
    return "runs/text/smoke" if smoke else "runs/text/base"


def trained(seed: int, smoke: bool) -> ConfigDict:
    """The fine-tuning, with one attack that tells what it came to."""
    config = finetune["get_config"]("smoke" if smoke else "")
    config.title = f"Benchmark target: text, seed {seed}"
    config.seed = config.train.seed = seed
    config.split.reference = 0.25
    config.train.snapshot_every = 5 if smoke else 250
    config.attacks = ConfigDict(dict(loss=config.attacks.loss))
    config.report = dict(samples=0)
    return config


def signals(smoke: bool) -> dict:
    """About 150 forward passes an image in all, of a network of 4 million weights."""
    few = 2 if smoke else 8
    loss = dict(name="loss", times=few)
    return dict(
        loss=loss,
        untold=dict(loss, prompt="null"),
        secmi=dict(name="secmi"),
        pia=dict(name="pia"),
        pian=dict(name="pia", normalised=True),
        sima=dict(name="sima", times=few),
        pfami=dict(name="pfami", times=2 if smoke else 4, neighbours=2),
        flow=dict(name="flow", draws=1 if smoke else 2),
        clid=dict(name="clid", times=1 if smoke else 2, cuts=(0.5,), draws=2),
        probe=dict(name="probe", base=base(smoke), steps=4 if smoke else 20),
        against=dict(name="against", signal=loss, folder=base(smoke)),
        reconstruct=dict(
            name="reconstruct", m=1, output="pooled", encoder=dict(name="pixels")
        ),
        rediffuse=dict(name="rediffuse", n=1 if smoke else 3),
        **{name: ALONG[name] for name in (*UNKNOWING, "copies")},
    )


def attacked(seed: int, step: int, folder: str, smoke: bool, **common) -> ConfigDict:
    """All attacks on one snapshot."""
    config = trained(seed, smoke)
    del config.train
    config.target = dict(name="kept", folder=folder, step=step)
    config.signals = signals(smoke)
    permutations = 2 if smoke else 20
    made = {**ruled(signals(smoke)), **combined(GREY, permutations)}
    made |= along(permutations)
    config.attacks = {name: made[name] for name in TITLES}
    config.sampler = dict(name="ddim", steps=4 if smoke else 10)
    for section, value in common.items():
        config[section] = value
    return config
