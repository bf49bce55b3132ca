"""Cilloni et al. 2023 (2311.09355) on the small text model: their whole table.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py audit --config=configs/text/finetune.py --workdir=runs/text/tuned
    python launch.py study --config=configs/cilloni/mini.py --workdir=runs/cilloni

Observer x distance x classifier, with and without blur, for a grey and a black box: 240
attacks on two sets of runs. Needs the extras "encoders" and "images".
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
text = run_path(str(HERE.parent / "text" / "_tuned.py"))
table = run_path(str(HERE / "_table.py"))


def audit(box: str, arg: str) -> ConfigDict:
    """All attacks of one informer."""
    smoke = arg == "smoke"
    config = text["kept"](f"img2img observed, {table['BOXES'][box]}", arg)
    encoder = dict(name="efficientnet_lite0", size=96)
    table["observe"](
        config,
        box,
        permutations=2 if smoke else 20,
        steps=3 if smoke else 10,
        strength=0.6,
        encoder=dict(name="pixels") if smoke else encoder,
    )
    return config


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        dict(
            title="img2img observed: a small text model",
            audits={box: audit(box, arg) for box in table["BOXES"]},
            labels=table["BOXES"],
            exhibits=table["exhibits"](),
        )
    )
