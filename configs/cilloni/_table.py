"""What the studies of Cilloni et al. 2023 share: their whole table of attacks."""

from itertools import product

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
BOXES = {"grey": "grey box", "black": "black box"}
BLURS = {0: "", 1: ", blurred"}


def signal(observer: str, distance: str, blur: int) -> str:
    """Of an observer's name."""
    return f"{observer}-{distance}{'-blur' if blur else ''}"


def observe(config: ConfigDict, box: str, permutations: int, **fields) -> None:
    """Give an audit all observers, distances, blurs and classifiers of one informer.

    Args:
      config: of the audit; its signals and attacks are set.
      box: of `BOXES`.
      permutations: of the cross-fitting.
      fields: of the signal: steps, strength, encoder, ...
    """
    config.signals, config.attacks = ConfigDict(), ConfigDict()
    encoder = fields.pop("encoder")
    for observer, distance, blur in product(OBSERVERS, DISTANCES, BLURS):
        name = signal(observer, distance, blur)
        config.signals[name] = dict(
            name="observe",
            observer=observer,
            distance=distance,
            informer=box,
            blur=blur,
            **fields,
        )
        if distance == "features":
            config.signals[name].encoder = encoder
        for rule, entry in RULES.items():
            config.attacks[f"{name}-{rule}"] = dict(
                signals=name,
                rule=entry,
                knows="split",
                scheme=dict(name="cross_fit", permutations=permutations),
            )


def exhibits() -> dict:
    """The table, by AUC and by TPR: a block of rows for each informer."""
    cells = {
        f"{OBSERVERS[o]}, {DISTANCES[d]}{blurred}": {
            rule: f"{signal(o, d, blur)}-{rule}" for rule in RULES
        }
        for blur, blurred in BLURS.items()
        for o, d in product(OBSERVERS, DISTANCES)
    }
    grid = dict(name="attack_grid", cells=cells, corner="Observer, distance")
    return dict(
        auc=dict(grid, title="AUC by observer, distance and classifier"),
        tpr=dict(grid, title="TPR at 10 % FPR, likewise", measure="tpr@0.1"),
        psnr=dict(
            name="attack_table",
            attacks={
                f"{o}-psnr-logistic": f"{title} observer, PSNR, logistic"
                for o, title in OBSERVERS.items()
            },
        ),
    )
