"""What the studies of Pang & Wang 2023 share: Attacks I to IV and their rules."""

from ml_collections import ConfigDict

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
_SHADOW = dict(count=1, pool="auxiliary", asked="known")
SHADOWS = dict(half=dict(_SHADOW, overlap=0.5), none=dict(_SHADOW, overlap=0.0))


def attack(config: ConfigDict, epochs: int = 1000) -> None:
    """Give an audit all scenarios by all rules, as we count and as published.

    Args:
      config: of the audit, with the signals "told", "made" and "untold".
      epochs: of the classifier.
    """
    config.shadows, config.attacks = SHADOWS, ConfigDict()
    for scenario, (read, shadow) in SCENARIOS.items():
        for rule, (entry, _) in RULES.items():
            if rule == "mlp":
                entry = dict(entry, epochs=epochs)
            made = dict(signals=read, rule=entry, knows="shadows", shadows=shadow)
            config.attacks[f"{scenario}-{rule}"] = made
            if shadow == "half":
                published = dict(name="score_mia.papers.pang_wang:Overlapping")
                counted = dict(made, scheme=published)
                config.attacks[f"{scenario}-{rule}-published"] = counted
    config.attacks["untold"] = dict(signals="untold", rule=dict(name="mean"))


def exhibits() -> dict:
    """Rules by scenario, and every attack with what FPR it came to."""
    cells = {
        f"Attack {s}": {title: f"{s}-{rule}" for rule, (_, title) in RULES.items()}
        for s in SCENARIOS
    }
    counted = {
        f"Attack {s}, known members left in, as published": {
            title: f"{s}-{rule}-published" for rule, (_, title) in RULES.items()
        }
        for s, (_, shadow) in SCENARIOS.items()
        if shadow == "half"
    }
    titles = {
        name: f"{scenario}: {rule}"
        for scenario, row in {**cells, **counted}.items()
        for rule, name in row.items()
    }
    titles["untold"] = "Told no caption, threshold, mean"
    grid = dict(name="attack_grid", cells={**cells, **counted}, corner="Scenario")
    return dict(
        rules=dict(grid, title="AUC by scenario and rule"),
        rates=dict(grid, title="TPR at 10 % FPR, likewise", measure="tpr@0.1"),
        attacks=dict(name="attack_table", attacks=titles),
    )
