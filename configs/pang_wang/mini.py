"""Pang & Wang 2023 (2312.08207) on the small text model: Attacks I to IV, all rules.

    python launch.py train --config=configs/text/pretrain.py --workdir=runs/text/base
    python launch.py study --config=configs/pang_wang/mini.py --workdir=runs/pang_wang

The target is fine-tuned as configs/text/finetune.py does it; beside it two shadows, one
of whose training set half are members of the target, the other's none. Each is asked
for three images with every candidate's own caption, and three with a retrieved one.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

text = run_path(str(Path(__file__).parents[1] / "text" / "_tuned.py"))

RULES = {
    "mean": (dict(name="mean"), "threshold, mean"),
    "max": (dict(name="max"), "threshold, max"),
    "gaussians": (dict(name="gaussians"), "distribution"),
    "mlp": (dict(name="mlp"), "classifier"),
    "logistic": (dict(name="logistic"), "logistic"),
}
SCENARIOS = {
    "I": ("told", "half"),
    "II": ("made", "half"),
    "III": ("told", "none"),
    "IV": ("made", "none"),
}
"""Attack -> the signal it reads, and which shadow model it knows."""


def audit(arg: str) -> ConfigDict:
    """All attacks on the fine-tuned model."""
    smoke = arg == "smoke"
    config = text["finetune"](arg)
    config.title = "Who was in the fine-tuning?"
    config.split.update(reference=0.25, auxiliary="auxiliary")
    config.sampler.steps = 4 if smoke else 10
    small = dict(name="pixels") if smoke else dict(name="efficientnet_lite0", size=128)
    signal = dict(name="reconstruct", m=1 if smoke else 3, encoder=small)
    made = dict(text["RETRIEVED"], encoder=dict(small))
    config.signals = dict(
        told=signal,
        made=dict(signal, prompt=made),
        untold=dict(signal, prompt="null"),
    )
    config.shadows = dict(
        half=dict(count=1, pool="auxiliary", overlap=0.5),
        none=dict(count=1, pool="auxiliary", overlap=0.0),
    )
    config.attacks = ConfigDict()
    for scenario, (read, shadow) in SCENARIOS.items():
        for rule, (entry, _) in RULES.items():
            if smoke and rule == "mlp":
                entry = dict(entry, epochs=5)
            attack = dict(signals=read, rule=entry, knows="shadows", shadows=shadow)
            config.attacks[f"{scenario}-{rule}"] = attack
            if shadow == "half":
                published = "score_mia.papers.pang_wang:Overlapping"
                counted = dict(attack, scheme=dict(name=published))
                config.attacks[f"{scenario}-{rule}-published"] = counted
    config.attacks["untold"] = dict(signals="untold", rule=dict(name="mean"))
    config.report = dict(samples=0, pictures=False)
    return config


def get_config(arg: str = "") -> ConfigDict:
    cells = {
        f"Attack {scenario}": {
            title: f"{scenario}-{rule}" for rule, (_, title) in RULES.items()
        }
        for scenario in SCENARIOS
    }
    counted = {
        f"Attack {s}, known members left in, as published": {
            title: f"{s}-{rule}-published" for rule, (_, title) in RULES.items()
        }
        for s, (_, shadow) in SCENARIOS.items()
        if shadow == "half"
    }
    grid = dict(name="attack_grid", cells={**cells, **counted}, corner="Scenario")
    return ConfigDict(
        dict(
            title="Black-box attacks on a fine-tuned small text model",
            audits=dict(tuned=audit(arg)),
            labels=dict(tuned="fine-tuned"),
            exhibits=dict(
                rules=dict(grid, title="Rules by scenario"),
                rates=dict(grid, measure="tpr@0.1", title="Rules by scenario"),
                attacks=dict(name="attack_table"),
            ),
        )
    )
