"""The pre-trained text model, fine-tuned on 250 other emoji and attacked.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py audit --config=configs/text/finetune.py --workdir=runs/text/tuned

The question of Pang & Wang: who of 250 members and 400 others was in the fine-tuning?
The loss is asked with each image's own caption, with none, and with that of the most
similar of 300 other images (which needs the extra "encoders").
"""

import copy
from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

pretrain = run_path(str(Path(__file__).parent / "pretrain.py"))


def retrieved(encoder: dict) -> dict:
    """A caption made of the image: that of the most similar of 300 other images."""
    return dict(
        name="retrieved",
        data=dict(name="bundled", dataset="emoji"),
        folder="auxiliary",
        encoder=encoder,
    )


def get_config(arg: str = "") -> ConfigDict:
    smoke = arg == "smoke"
    config = pretrain["get_config"](arg)
    config.title = "A text-conditional model, fine-tuned on 250 captioned emoji"
    config.split.members = "members"
    config.split.nonmembers = "nonmembers"
    base = "runs/text/smoke" if smoke else "runs/text/base"
    config.target = dict(name="finetuned", base=base, text=True)
    for section in ("sde", "network", "codec", "conditioner"):
        del config[section]  # the base says them
    config.train.update(
        steps=20 if smoke else 1000,
        learning_rate=3e-4,
        warmup=50,
        decay=0,
        ema=0.99,
    )
    config.sampler.guidance = 2.0
    similar = retrieved(dict(name="pixels" if smoke else "efficientnet_lite0"))
    for name, prompt in (("untold", "null"), ("similar", similar)):
        config.attacks[name] = copy.deepcopy(config.attacks.loss)
        config.attacks[name].signal.prompt = prompt
    return config
