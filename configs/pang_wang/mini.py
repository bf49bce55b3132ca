"""Pang & Wang 2023 (2312.08207) on the small text model: Attacks I to IV, all rules.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py train --config=configs/text/other.py --workdir=runs/text/other
    python launch.py study --config=configs/pang_wang/mini.py --workdir=runs/pang_wang

The target is fine-tuned as configs/text/finetune.py does it; beside it two shadows, one
of whose training set half are members of the target, the other's none, and a third
that was fine-tuned from a model of another family. Each is asked
for three images with the own caption of each image, and three with a retrieved one.
Snapshots are kept for configs/pang_wang/ablations.py.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
text = run_path(str(HERE.parent / "text" / "_tuned.py"))
scenarios = run_path(str(HERE / "_scenarios.py"))


def other(arg: str) -> str:
    """The base of a shadow of another family."""
    return "runs/text/smoke-other" if arg == "smoke" else "runs/text/other"


def audit(arg: str) -> ConfigDict:
    """All attacks on the fine-tuned model."""
    smoke = arg == "smoke"
    config = text["finetune"](arg)
    config.title = "Who was in the fine-tuning?"
    config.split.update(reference=0.25, auxiliary="auxiliary")
    config.train.snapshot_every = 10 if smoke else 250
    config.sampler.steps = 4 if smoke else 6
    seen = text["seen"](arg)
    signal = dict(name="reconstruct", m=1 if smoke else 3, encoder=seen)
    config.signals = dict(
        told=signal,
        made=dict(signal, prompt=text["retrieved"](dict(seen))),
        untold=dict(signal, prompt="null", m=1),
    )
    scenarios["attack"](config, epochs=5 if smoke else 1000, base=other(arg))
    config.report = dict(samples=0, pictures=False)
    return config


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        dict(
            title="Black-box attacks on a fine-tuned small text model",
            audits=dict(tuned=audit(arg)),
            labels=dict(tuned="fine-tuned"),
            exhibits=scenarios["exhibits"](other(arg)),
        )
    )
