"""Which figures and pictures a report has, with their titles, words and captions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from score_mia.report import draw, privacy
from score_mia.report.content import AttackContent, ReportContent
from score_mia.report.curves import RocCurve
from score_mia.report.text import FIRST, estimate, level
from score_mia.results import Privacy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False)
class Plate:
    """A figure with its file, its words, and its group (the section it stands in).

    `parts` are shown in its place on the page, side by side where there is room.
    """

    file: str
    group: str
    figure: Figure
    title: str
    alt: str
    caption: str
    parts: tuple[Figure, ...] = ()


def plates(content: ReportContent, curves: Mapping[str, RocCurve]) -> dict[str, Plate]:
    """All figures by file name, in the order of the page; `curves` by attack.

    Of many attacks the first `FIRST` of the config are drawn: more curves in a panel
    cannot be told apart, and a choice by their numbers would be made on the images
    that are reported.
    """
    some = list(curves)[:FIRST]
    left = len(curves) - len(some)
    content = dataclasses.replace(
        content, attacks=tuple(a for a in content.attacks if a.name in some)
    )
    found = [*_separation(content, {name: curves[name] for name in some}, left)]
    stepped = [a for a in content.attacks if a.stepped is not None]
    taken: set[str] = set()
    for number, attack in enumerate(stepped):
        name = f"{content.titles[attack.name]}, by" if len(stepped) > 1 else "By"
        ending = f"-{_free(slug(attack.name), taken)}" if number else ""
        found += _steps(attack, content.titles[attack.name], name, ending)
    losses = draw.training(content.training)
    if losses is not None:
        last = max(content.training, key=lambda r: r["step"])
        found.append(
            Plate(
                "training.png",
                "training",
                losses,
                "Training",
                f"Training loss over {last['step']:,} steps.",
                "The loss the target was trained with. It says little about "
                "memorisation, which often begins after the curve looks flat.",
            )
        )
    return {p.file: p for p in found}


def slug(name: str) -> str:
    """A name made safe for a file: letters, digits, "-" and "_"."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "attack"


def _free(slug: str, taken: set[str]) -> str:
    """The slug, or with a number if another attack has it: no file is lost."""
    number, name = 1, slug
    while name.lower() in taken:
        number += 1
        name = f"{slug}-{number}"
    taken.add(name.lower())
    return name


def _separation(
    content: ReportContent, curves: Mapping[str, RocCurve], left: int
) -> list[Plate]:
    if not curves:
        return []
    others = f" {left:,} further attacks are in the table only." if left else ""
    titles, private = content.titles, content.result.target.privacy
    shown = {titles[a.name]: a for a in content.attacks if not a.failed}
    lines = []
    for title, a in shown.items():
        value, interval = estimate(a.result.auc, a.result.nonmembers, False)
        lines.append(f"{title}: AUC {value} {interval}")
    words = "; ".join(lines) + "."
    ceiling = _ceiling(private)
    drawn = draw.roc(curves, ceiling, titles)
    many = len(shown) > draw.MANY
    return [
        Plate(
            "roc.png",
            "separation",
            drawn,
            "Recognised members against wrong accusations",
            f"ROC curves on logarithmic axes. {words}",
            "Receiver operating characteristic; bands are pointwise 95 % intervals. "
            "The further above the dotted line of guessing, and the further to the "
            "left, the worse the leak. Nothing can be measured in the shaded part."
            + _MISSED * draw.is_strong(curves)
            + _UNDER * (ceiling is not None)
            + others,
        ),
        Plate(
            "scores.png",
            "separation",
            # As high as the curves beside it, so that neither card is half empty.
            draw.histogram(shown, least=2.9 if many else drawn.get_figheight()),
            "Membership scores",
            f"Histograms of the scores of members and non-members. {words}",
            "How the attack scored the images of either group. The less the two "
            "shapes overlap, the more surely a single image can be told." + others,
            tuple(draw.histogram({t: a}, wide=4.0) for t, a in shown.items())
            if many
            else (),
        ),
    ]


_MISSED = (
    " Below, the share of members missed at the same threshold, which tells attacks "
    "apart that recognise nearly all; a curve at the top edge misses none."
)
_UNDER = (
    " No attack on a target trained with this guarantee can pass the dash-dotted line; "
    "what lies below it is not excluded, these attacks only did not find it."
)


def _ceiling(private: Privacy | None) -> Any:
    """Name and curve of what the guarantee of private training leaves to attacks."""
    if privacy.ceiling(private, np.ones(1)) is None:
        return None
    return privacy.ceiling_label(private), lambda fpr: privacy.ceiling(private, fpr)


def _steps(attack: AttackContent, title: str, name: str, ending: str) -> list[Plate]:
    steps = attack.stepped
    assert steps is not None
    curves = steps.curves
    best = int(np.nanargmax(curves.auc[0]))
    value, low, high = curves.auc[:, best]
    where = (
        f"AUC is highest for {steps.words(best)}: {value:.3f} [{low:.3f}, {high:.3f}]"
    )
    missing = [level(f) for f, v in curves.tpr.items() if v is None]
    basis = (
        f"{title}, {curves.members:,} members and {curves.nonmembers:,} "
        "non-members; bands are pointwise 95 % intervals."
    )
    if missing:
        basis += (
            f" Below resolution with n = {curves.nonmembers:,} non-members: TPR at "
            f"{' and '.join(missing)} FPR."
        )
    chosen = (
        " The dashed line is the step chosen on reference data, the one the table uses."
    ) * (steps.chosen is not None)
    return [
        Plate(
            f"tpr_by_step{ending}.png",
            "steps",
            draw.by_step(steps, "time"),
            f"{name} {steps.time_label}",
            f"{title} at every {steps.time_label}. {where}.",
            basis + chosen,
        ),
        Plate(
            f"tpr_by_log_snr{ending}.png",
            "steps",
            draw.by_step(steps, "log_snr"),
            f"{name} log-SNR",
            f"{title} against the logarithm of signal to noise. {where}.",
            f"{basis} Noise grows to the right.",
        ),
    ]
