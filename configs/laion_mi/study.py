"""Dubinski et al. 2023 (2306.12983) at full size, for whoever has the images.

    python -m score_mia.papers.laion_mi.fetch --list=members.csv --out=DIR/members
    python -m score_mia.papers.laion_mi.fetch --list=nonmembers.csv --out=DIR/nonmembers
    score-mia study --config=configs/laion_mi/study.py:DIR,SD14,CARDS --workdir=runs/mi

SD14: a folder of Stable Diffusion 1.4 as diffusers writes it. CARDS: a folder of the
Pokémon with the lists of `score_mia.papers.laion_mi.pokemon`: the control, a model that
was fine-tuned on 633 images and leaks strongly; left out where it is not given. No one
has yet run it at full size with this code.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

rows = run_path(str(Path(__file__).parent / "_rows.py"))


def audit(title: str, images: str, model: str) -> ConfigDict:
    """All settings on the model as it is."""
    config = ConfigDict(
        dict(
            title=title,
            data=dict(name="folder", path=images, size=512, crop="center"),
            split=dict(name="folders", reference=0.25),
            target=dict(name="diffusers", folder=model),
            sampler=dict(name="ddim", steps=50, guidance=7.5),
            engine=dict(tile=8, shard=256),
            report=dict(samples=0),
        )
    )
    rows["attack"](config, rows["RULES"], permutations=20, draws=5)
    return config


def control(images: str, model: str) -> ConfigDict:
    """The same on a model that was fine-tuned on 633 of 833 images."""
    config = audit("The Pokémon control", images, model)
    lists = {n: f"{images}/{n}.txt" for n in ("members", "nonmembers")}
    config.split = dict(name="files", reference=0.25, **lists)
    config.target = dict(
        name="finetuned", base=dict(name="diffusers", folder=model), adapt="full"
    )
    config.train = dict(
        steps=15000, batch=4, learning_rate=1e-5, warmup=0, ema=0.999, flip=True
    )
    return config


def get_config(arg: str = "") -> ConfigDict:
    images, model, pokemon = (*arg.split(","), "", "")[:3]
    images, model = images or "laion_mi", model or "stable-diffusion-v1-4"
    audits = dict(laion_mi=audit("LAION-mi, Stable Diffusion 1.4", images, model))
    labels = dict(laion_mi="LAION-mi")
    if pokemon:
        audits["pokemon"] = control(pokemon, model)
        labels["pokemon"] = "Pokémon, fine-tuned"
    return ConfigDict(
        dict(
            title="LAION-mi",
            audits=audits,
            labels=labels,
            exhibits=rows["exhibits"](rows["RULES"]),
        )
    )
