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
OTHER = {"III-other": ("told", "other")}
"""Attack III by whoever does not know what the target was tuned from."""
TITLES = {
    **{scenario: f"Attack {scenario}" for scenario in SCENARIOS},
    "III-other": "Attack III, shadow of another family",
}
_SHADOW = dict(count=1, pool="auxiliary", asked="known")
SHADOWS = dict(half=dict(_SHADOW, overlap=0.5), none=dict(_SHADOW, overlap=0.0))


def attack(config: ConfigDict, epochs: int = 1000, base: str | dict = "") -> None:
    """Give an audit all scenarios by all rules, as we count and as published.

    Args:
      config: of the audit, with the signals "told", "made" and "untold".
      epochs: of the classifier.
      base: of a third shadow, of another family; "" for none.
    """
    config.shadows, config.attacks = dict(SHADOWS), ConfigDict()
    if base:
        config.shadows.other = dict(SHADOWS["none"], base=base)
    for scenario, (read, shadow) in scenarios(base).items():
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


def scenarios(base: str | dict = "") -> dict[str, tuple[str, str]]:
    """The scenarios, with that of another family if there is one."""
    return {**SCENARIOS, **(OTHER if base else {})}


def exhibits(base: str | dict = "") -> dict:
    """Rules by scenario, and every attack with what FPR it came to."""
    cells = {
        TITLES[s]: {title: f"{s}-{rule}" for rule, (_, title) in RULES.items()}
        for s in scenarios(base)
    }
    counted = {
        f"{TITLES[s]}, known members left in, as published": {
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
