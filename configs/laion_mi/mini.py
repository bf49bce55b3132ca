"""Dubinski et al. 2023 (2306.12983) on the small text model: all of their settings.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py audit --config=configs/text/finetune.py --workdir=runs/text/tuned
    python launch.py study --config=configs/laion_mi/mini.py --workdir=runs/laion_mi

One of their five noises, and every fifth of their levels in the partial rows, which the
title says; the logistic rule and the tree of their classifiers.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

HERE = Path(__file__).parent
text = run_path(str(HERE.parent / "text" / "_tuned.py"))
rows = run_path(str(HERE / "_rows.py"))
RULES = {name: rows["RULES"][name] for name in ("logistic", "tree")}


def audit(arg: str) -> ConfigDict:
    """All settings on the fine-tuned model."""
    smoke = arg == "smoke"
    config = text["kept"]("Denoising a small text model's images", arg)
    permutations, draws = (2, 1) if smoke else (3, 1)
    rows["attack"](config, RULES, permutations, draws=draws, stride=5)
    return config


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        dict(
            title="LAION-mi's settings, one noise, every fifth level",
            audits=dict(tuned=audit(arg)),
            labels=dict(tuned="fine-tuned"),
            exhibits=rows["exhibits"](RULES),
        )
    )
