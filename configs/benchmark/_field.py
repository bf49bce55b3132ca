"""The attacks on models that others trained: settings of their papers.

Nothing is cut here for the sake of time: `attacks(...)` costs about 400 forward passes
an image and, where the weights are differentiated, as many again. `--dry_run` counts.
"""

from collections.abc import Mapping
from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

_attacks = run_path(str(Path(__file__).with_name("_attacks.py")))
ruled, combined, titled = (_attacks[n] for n in ("ruled", "combined", "titled"))
ALONG, along = _attacks["ALONG"], _attacks["along"]

SHOWN = (
    *("loss", "loss_200", "secmi", "pia", "pian", "sima", "pfami", "dispersion"),
    *("flow", "denoise", "clid", "untold", "rediffuse", "reconstruct", "observe"),
    *("likelihood", "gsa", "roots", "looks", "known", "together"),
    *("peak", "learned", "errors", "weighed"),
)
"""Attacks in the order of the table."""

GREY = ("loss", "secmi", "pia", "pian", "sima", "pfami", "dispersion", "flow")
GREY += ("copies", "errors")

MOVED = ("left", "right", "up", "down")
"""Copies of an image: most of these models were trained on mirrored images, too."""


def signals(told: str, white: bool, likelihood: bool) -> dict:
    """Signals by name.

    Args:
      told: "" for a model that is told nothing, "label" or "caption".
      white: whether the network is differentiated by its weights.
      likelihood: whether there is a density on pixels.
    """
    made = dict(
        loss=dict(name="loss", times=50),
        secmi=dict(name="secmi"),
        pia=dict(name="pia"),
        pian=dict(name="pia", normalised=True),
        sima=dict(name="sima"),
        pfami=dict(name="pfami"),
        dispersion=dict(name="dispersion"),
        flow=dict(name="flow", draws=4),
        denoise=dict(name="denoise", guidance=0.0, losses=("model", "latent")),
        rediffuse=dict(name="rediffuse"),
        observe=dict(name="observe"),
        looks=dict(name="covariates"),
        errors=ALONG["errors"],
        peak=dict(ALONG["peak"], copies=MOVED),
        copies=dict(ALONG["copies"], copies=MOVED),
    )
    if told:
        cuts = (0.3, 0.6) if told == "caption" else ()
        made["untold"] = dict(made["loss"], prompt="null")
        made["clid"] = dict(name="clid", times=4, cuts=cuts)
    if told == "caption":
        encoder = dict(name="efficientnet_lite0")
        made["reconstruct"] = dict(name="reconstruct", output="pooled", encoder=encoder)
    if likelihood:
        made["likelihood"] = dict(name="likelihood")
    if white:
        made["gsa"] = dict(name="gsa")
        made["roots"] = dict(name="roots", times=20)
        made["terms"] = ALONG["terms"]
    return made


def attacks(read: Mapping[str, dict]) -> dict:
    """Each signal by its rule, and the grey box combined."""
    made = {**ruled(read), **along(10), **combined(GREY, 10)}
    if "terms" not in read:
        del made["weighed"]
    return {name: made[name] for name in SHOWN if name in made}


def audit(
    title: str,
    data: dict,
    split: dict,
    target: dict,
    told: str = "",
    white: bool = True,
    likelihood: bool = True,
    tile: int = 64,
) -> ConfigDict:
    """One audit of all attacks on one model."""
    read = signals(told, white, likelihood)
    return ConfigDict(
        dict(
            title=title,
            data=data,
            split=split,
            target=target,
            signals=read,
            attacks=attacks(read),
            engine=dict(tile=tile, shard=64 * tile),
            report=dict(samples=0, grid_check=0),
        )
    )


def study(title: str, audits: Mapping[str, ConfigDict], labels: dict) -> ConfigDict:
    """Audits with a leaderboard each, and one over all."""
    boards = {"leaderboard": [*audits]}
    if len(audits) > 1:
        boards |= {name: [name] for name in audits}
    have = {n for audit in audits.values() for n in audit.attacks}
    titles = titled(name for name in SHOWN if name in have)
    exhibits = {
        name if name == "leaderboard" else f"board-{name}": dict(
            name="leaderboard", levels={"all": of}, attacks=titles
        )
        for name, of in boards.items()
    }
    return ConfigDict(
        dict(title=title, audits=dict(audits), labels=labels, exhibits=exhibits)
    )
