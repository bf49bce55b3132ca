"""What the studies of Cilloni et al. 2023 share: their whole table of attacks."""

from ml_collections import ConfigDict

OBSERVERS = {n: n.replace("_", "-") for n in ("one_shot", "complete", "progressive")}
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
    """Of an attack."""
    return f"{observer}-{distance}-{rule}"


def observe(config: ConfigDict, box: str, permutations: int, **fields) -> None:
    """Give an audit all observers, distances and classifiers of one informer.

    Args:
      config: of the audit; its signals and attacks are set.
      box: of `BOXES`.
      permutations: of the cross-fitting.
      fields: of the signal: steps, strength, encoder, ...
    """
    informer, _, blur = box.partition("_")
    config.signals, config.attacks = ConfigDict(), ConfigDict()
    encoder = fields.pop("encoder")
    for observer in OBSERVERS:
        for distance in DISTANCES:
            signal = dict(
                name="observe",
                observer=observer,
                distance=distance,
                informer=informer,
                blur=1 if blur else 0,
                **fields,
            )
            if distance == "features":
                signal["encoder"] = encoder
            config.signals[f"{observer}-{distance}"] = signal
            for rule, entry in RULES.items():
                config.attacks[name(observer, distance, rule)] = dict(
                    signals=f"{observer}-{distance}",
                    rule=entry,
                    knows="split",
                    scheme=dict(name="cross_fit", permutations=permutations),
                )


def exhibits() -> dict:
    """The table, by AUC and by TPR: a block of rows for each informer."""
    cells = {
        f"{o}, {d}": {rule: name(observer, distance, rule) for rule in RULES}
        for observer, o in OBSERVERS.items()
        for distance, d in DISTANCES.items()
    }
    grid = dict(
        name="attack_grid",
        cells=cells,
        corner="Observer, distance",
        title="Observer, distance and classifier, by informer",
    )
    return dict(
        auc=grid,
        tpr=dict(grid, measure="tpr@0.1"),
        psnr=dict(
            name="attack_table",
            attacks={
                name(o, "psnr", "logistic"): f"{title} observer, PSNR, logistic"
                for o, title in OBSERVERS.items()
            },
        ),
    )
