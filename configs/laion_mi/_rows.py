"""What the studies of Dubinski et al. 2023 share: their settings and classifiers."""

from ml_collections import ConfigDict

from score_mia.papers.laion_mi import SETTINGS, TITLES

RULES = {
    "logistic": dict(name="logistic"),
    "tree": dict(name="tree"),
    "forest": dict(name="forest"),
    "perceptron": dict(name="perceptron"),
}
"""Theirs, with their grids."""


def attack(config: ConfigDict, rules: dict, permutations: int, **fields) -> None:
    """Give an audit every setting, by its best error and by classifiers of all of them.

    Args:
      config: of the audit; its signals and attacks are set.
      rules: of `RULES`, by name.
      permutations: of the cross-fitting.
      fields: of the setting: draws, stride.
    """
    config.signals, config.attacks = ConfigDict(), ConfigDict()
    for row in SETTINGS:
        made = dict(name="score_mia.papers.laion_mi:setting", row=row, **fields)
        config.signals[row] = made
        config.attacks[row] = dict(signals=row, rule=dict(name="best"), knows="split")
        for rule, entry in rules.items():
            config.attacks[f"{row}-{rule}"] = dict(
                signals=row,
                rule=entry,
                knows="split",
                scheme=dict(name="cross_fit", permutations=permutations),
            )


def exhibits(rules: dict) -> dict:
    """A table of the settings, and their classifiers side by side."""
    cells = {
        title: {"best error": row, **{rule: f"{row}-{rule}" for rule in rules}}
        for row, title in TITLES.items()
    }
    grid = dict(name="attack_grid", cells=cells, corner="Setting")
    return dict(
        threshold=dict(
            name="attack_table",
            attacks=dict(TITLES),
            title="One error at one level, chosen on reference images",
            beside=dict(name="score_mia.papers.laion_mi.tables:Resamples"),
        ),
        auc=dict(grid, title="AUC by setting and classifier"),
        tpr=dict(grid, title="TPR at 1 % FPR, likewise", measure="tpr@0.01"),
    )
