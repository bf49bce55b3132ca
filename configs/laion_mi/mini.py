"""Dubinski et al. 2023 (2306.12983) on the small text model: all of their settings.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py audit --config=configs/text/finetune.py --workdir=runs/text/tuned
    python launch.py study --config=configs/laion_mi/mini.py --workdir=runs/laion_mi

Two of their noises in place of five, and steps twice as wide in the partial rows, which
the title says.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

from score_mia.papers.laion_mi import SETTINGS, TITLES

text = run_path(str(Path(__file__).parents[1] / "text" / "_tuned.py"))

PREDICTOR = dict(name="logistic")
LOSSES = {"model": "model", "latent": "latent", "pixel": "pixel"}


def audit(arg: str) -> ConfigDict:
    """Every setting, by each of its errors and by a classifier of all of them."""
    smoke = arg == "smoke"
    config = text["kept"]("Denoising a small text model's images", arg)
    config.signals = ConfigDict()
    for row in SETTINGS:
        config.signals[row] = dict(
            name="score_mia.papers.laion_mi:setting",
            row=row,
            draws=1 if smoke else 2,
            stride=10 if smoke else 2,
        )
        config.attacks[row] = dict(
            signals=row,
            rule=PREDICTOR,
            knows="split",
            scheme=dict(name="cross_fit", permutations=2 if smoke else 20),
        )
        config.attacks[f"{row}-threshold"] = dict(
            signals=row, rule=dict(name="best"), knows="split"
        )
    return config


def get_config(arg: str = "") -> ConfigDict:
    rows = dict(name="attack_table", attacks=dict(TITLES), title="Classifier")
    single = {f"{row}-threshold": title for row, title in TITLES.items()}
    return ConfigDict(
        dict(
            title="LAION-mi's settings, 2 noises, half the levels",
            audits=dict(tuned=audit(arg)),
            labels=dict(tuned="fine-tuned"),
            exhibits=dict(
                classifier=rows,
                threshold=dict(
                    name="attack_table",
                    attacks=single,
                    title="One error at one level, chosen on reference images",
                ),
            ),
        )
    )
