"""The pre-trained text model, fine-tuned on 250 other emoji and attacked.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py audit --config=configs/text/finetune.py --workdir=runs/text/tuned

The question of Pang & Wang: who of 250 members and 400 others was in the fine-tuning?
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

pretrain = run_path(str(Path(__file__).parent / "pretrain.py"))


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    config = pretrain["get_config"](arg)
    config.title = "A text-conditional DDPM, fine-tuned on 250 captioned emoji"
    config.split.members = "members"
    config.split.nonmembers = "nonmembers"
    base = "runs/text/smoke" if smoke else "runs/text/base"
    config.target = dict(name="finetuned", base=base)
    for section in ("sde", "network", "codec", "conditioner"):
        del config[section]  # the base says them
    config.train.update(
        steps=20 if smoke else 1000, learning_rate=3e-4, warmup=50, ema=0.99
    )
    config.sampler.guidance = 3.0
    return config
