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

text = run_path(str(Path(__file__).parents[1] / "text" / "_tuned.py"))

OBSERVERS = {
    "one_shot": "one-shot",
    "complete": "complete",
    "progressive": "progressive",
}
DISTANCES = {"psnr": "PSNR", "dssim": "DSSIM", "rmse": "RMSE", "features": "features"}
RULES = {
    "logistic": dict(name="logistic", strengths=(1.0,)),
    "svm": dict(name="svm"),
    "tree": dict(name="tree", depths=(8,), splits=(2,)),
    "bayes": dict(name="bayes"),
    "neighbours": dict(name="neighbours"),
}
BOXES = {
    "grey": "grey box",
    "grey_blur": "grey box, blurred",
    "black": "black box",
    "black_blur": "black box, blurred",
}


def name(observer: str, distance: str, rule: str) -> str:
    return f"{observer}-{distance}-{rule}"


def audit(box: str, arg: str) -> ConfigDict:
    """All observers, distances and classifiers of one informer."""
    smoke = arg == "smoke"
    config = text["kept"](f"img2img observed, {BOXES[box]}", arg)
    informer, _, blur = box.partition("_")
    config.signals = ConfigDict()
    for observer in OBSERVERS:
        for distance in DISTANCES:
            signal = dict(
                name="observe",
                observer=observer,
                distance=distance,
                informer=informer,
                steps=3 if smoke else 10,
                strength=0.6,
                blur=1 if blur else 0,
            )
            if distance == "features":
                small = dict(name="pixels") if smoke else ENCODER
                signal["encoder"] = small
            config.signals[f"{observer}-{distance}"] = signal
            for rule, entry in RULES.items():
                config.attacks[name(observer, distance, rule)] = dict(
                    signals=f"{observer}-{distance}",
                    rule=entry,
                    knows="split",
                    scheme=dict(name="cross_fit", permutations=2 if smoke else 20),
                )
    return config


ENCODER = dict(name="efficientnet_lite0", size=96)


def grid(measure: str) -> dict:
    """Rows: observer and distance; columns: classifiers."""
    cells = {
        f"{o}, {d}": {rule: name(observer, distance, rule) for rule in RULES}
        for observer, o in OBSERVERS.items()
        for distance, d in DISTANCES.items()
    }
    return dict(
        name="attack_grid",
        cells=cells,
        measure=measure,
        corner="Observer, distance",
        title="Observer, distance and classifier, by informer",
    )


def get_config(arg: str = "") -> ConfigDict:
    return ConfigDict(
        dict(
            title="img2img observed: a small text model",
            audits={box: audit(box, arg) for box in BOXES},
            labels=BOXES,
            exhibits=dict(auc=grid("auc"), tpr=grid("tpr@0.1")),
        )
    )
