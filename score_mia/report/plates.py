"""Which figures and pictures a report has, with their titles, words and captions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from score_mia.report import figure, picture, privacy
from score_mia.report.content import AttackContent, ReportContent
from score_mia.report.curves import ColumnCurves, Curves
from score_mia.report.text import estimate, level

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SAMPLES = 16
"""Samples shown with their nearest members at most."""


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


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """A sample [h, w, c], the member nearest to it, and their RMS distance."""

    sample: np.ndarray
    member: np.ndarray | None
    distance: float


def plates(content: ReportContent, curves: Curves) -> dict[str, Plate]:
    """All figures by file name, in the order of the page."""
    found = [*_separation(content, curves)]
    stepped = [a for a in content.attacks if a.name in curves.columns]
    taken: set[str] = set()
    for number, attack in enumerate(stepped):
        name = f"{attack.title}, by" if len(stepped) > 1 else "By"
        ending = f"-{_free(slug(attack.name), taken)}" if number else ""
        found += _steps(attack, curves.columns[attack.name], name, ending)
    losses = figure.training(content.training)
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


def _separation(content: ReportContent, curves: Curves) -> list[Plate]:
    if not curves.roc:
        return []
    said = []
    scored = [a for a in content.attacks if not a.failed]
    for a in scored:
        value, interval = estimate(a.metrics.get("auc"), a.nonmembers, False)
        said.append(f"{a.title}: AUC {value} {interval}")
    words = "; ".join(said) + "."
    drawn = figure.roc(curves.roc, _ceiling(content.metrics), content.titles)
    many = len(scored) > figure.MANY
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
            + _missed(curves)
            + _under(content.metrics),
        ),
        Plate(
            "scores.png",
            "separation",
            # As high as the curves beside it, so that neither card is half empty.
            figure.histogram(scored, least=2.9 if many else drawn.get_figheight()),
            "Membership scores",
            f"Histograms of the scores of members and non-members. {words}",
            "How the attack scored the images of either group. The less the two "
            "shapes overlap, the more surely a single image can be told.",
            tuple(figure.histogram([a], wide=4.0) for a in scored) if many else (),
        ),
    ]


def _missed(curves: Curves) -> str:
    """What the lower panel shows, where there is one."""
    if not figure.is_strong(curves.roc):
        return ""
    return (
        " Below, the share of members missed at the same threshold, which tells "
        "attacks apart that recognise nearly all; a curve at the top edge misses none."
    )


def _ceiling(metrics: Mapping[str, Any]) -> Any:
    """Name and curve of what the guarantee of private training leaves to attacks."""
    if privacy.ceiling(metrics, np.ones(1)) is None:
        return None
    label = privacy.ceiling_label(metrics)
    return label, lambda fpr: privacy.ceiling(metrics, fpr)


def _under(metrics: Mapping[str, Any]) -> str:
    if _ceiling(metrics) is None:
        return ""
    return (
        " No attack on a target trained with this guarantee can pass the dash-dotted "
        "line; what lies below it is not excluded, these attacks only did not find it."
    )


def _steps(
    attack: AttackContent, curves: ColumnCurves, name: str, ending: str
) -> list[Plate]:
    columns = attack.columns
    assert columns is not None
    best = int(np.nanargmax(curves.auc[0]))
    value, low, high = curves.auc[:, best]
    where = (
        f"AUC is highest for {columns.words(best)}: {value:.3f} [{low:.3f}, {high:.3f}]"
    )
    missing = [level(f) for f, v in curves.tpr.items() if v is None]
    lost = (
        f" Below resolution with n = {curves.nonmembers:,} non-members: TPR at "
        f"{' and '.join(missing)} FPR."
        if missing
        else ""
    )
    basis = (
        f"{attack.title}, {curves.members:,} members and {curves.nonmembers:,} "
        f"non-members; bands are pointwise 95 % intervals.{lost}"
    )
    chosen = (
        " The dashed line is the step chosen on reference data, the one the table uses."
        if columns.chosen_index is not None
        else ""
    )
    return [
        Plate(
            f"tpr_by_step{ending}.png",
            "steps",
            figure.by_step(columns, curves, "time"),
            f"{name} {columns.time_label}",
            f"{attack.title} at every {columns.time_label}. {where}.",
            basis + chosen,
        ),
        Plate(
            f"tpr_by_log_snr{ending}.png",
            "steps",
            figure.by_step(columns, curves, "log_snr"),
            f"{name} log-SNR",
            f"{attack.title} against the logarithm of signal to noise. {where}.",
            f"{basis} Noise grows to the right.",
        ),
    ]


def pairs(content: ReportContent) -> list[Pair]:
    """The samples with their nearest members, the most similar first."""
    if content.samples is None or not len(content.samples):
        return []
    samples = picture.unit_pictures(content.samples)
    members = content.members
    if members is None or members.shape[1:] != content.samples.shape[1:]:
        return [Pair(sample, None, float("nan")) for sample in samples[:SAMPLES]]
    others = picture.unit_pictures(members)
    index, far = picture.nearest(samples, others)
    order = np.argsort(far, kind="stable")[:SAMPLES]
    return [Pair(samples[i], others[index[i]], float(far[i])) for i in order]


def pairs_caption(content: ReportContent) -> str:
    """What the reader sees in the pairs, and out of how many they were taken."""
    if content.samples is None:
        return ""
    shown = min(SAMPLES, len(content.samples))
    if (
        content.members is None
        or content.members.shape[1:] != content.samples.shape[1:]
    ):
        return f"{shown} of {len(content.samples):,} pictures the model generated."
    return (
        f"Above: pictures the model generated; below: the nearest of "
        f"{len(content.members):,} training images, with the root-mean-square "
        f"difference of their pixels (0 is a copy, pixels range from 0 to 1). The "
        f"{shown} closest of {len(content.samples):,} samples, closest first."
    )
