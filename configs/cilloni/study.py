"""Cilloni et al. 2023 (2311.09355) at full size, for whoever has the images.

    score-mia study --config=configs/cilloni/study.py:IMAGES,SD2 --workdir=runs/cilloni

IMAGES: a folder with members/, nonmembers/ and their captions (for LAION-mi's lists
`python -m score_mia.papers.laion_mi.fetch` makes it). SD2: a folder of Stable Diffusion
2.x as diffusers writes it. Strength, steps and sizes are unknown: fields to be varied.
No one has yet run it at full size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

table = run_path(str(Path(__file__).parent / "_table.py"))


def audit(box: str, images: str, model: str) -> ConfigDict:
    """All attacks of one informer."""
    config = ConfigDict(
        dict(
            title=f"img2img observed, {table['BOXES'][box]}",
            data=dict(name="folder", path=images, size=768, crop="center"),
            split=dict(name="folders", reference=0.25),
            target=dict(name="diffusers", folder=model),
            sampler=dict(name="ddim", steps=50, guidance=7.5),
            engine=dict(tile=8, shard=256),
            report=dict(samples=0),
        )
    )
    encoder = dict(name="efficientnet_lite0")
    how = dict(steps=10, strength=0.5, encoder=encoder)
    table["observe"](config, box, permutations=50, **how)
    return config


def get_config(arg: str = "") -> ConfigDict:
    images, _, model = arg.partition(",")
    where = (images or "laion_mi", model or "stable-diffusion-2-1")
    return ConfigDict(
        dict(
            title="Privacy threats in Stable Diffusion models",
            audits={box: audit(box, *where) for box in table["BOXES"]},
            labels=table["BOXES"],
            exhibits=table["exhibits"](),
        )
    )
