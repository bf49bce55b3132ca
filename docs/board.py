"""Blocks of benchmark.md and learned.md: boards that are committed."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping

import numpy as np
from measured import RESULTS, audit, kept, rate, signed, table, unit

from score_mia.metrics.paired import paired
from score_mia.results import AttackResult, Estimate

NONE = "\N{EN DASH}"

Rows = dict[tuple[str, str, str], dict[str, str]]
"""(level, measure, FPR) -> the row over all targets."""


def read(board: str, study: str = "benchmark") -> dict[str, tuple[str, Rows]]:
    """Attack -> how it is called, and what the board says of it over all targets."""
    found: dict[str, tuple[str, Rows]] = {}
    with (RESULTS / study / "exhibits" / f"{board}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rows = found.setdefault(row["attack"], (row["title"], {}))[1]
            if not row["audit"]:
                rows[row["level"], row["measure"], row["fpr"]] = row
    return found


def _estimate(row: Mapping[str, str]) -> Estimate:
    return Estimate(*(float(row[k]) for k in ("value", "low", "high")))


def _shown(row: Mapping[str, str] | None, form: Callable[[Estimate], str]) -> str:
    """A number of the board in that form; a dash where there is none."""
    return NONE if row is None else form(_estimate(row))


def _rank(place: Estimate) -> str:
    value, low, high = place.interval
    return f"{value:g} [{low:g}, {high:g}]"


def _cost(rows: Rows) -> str:
    asked = rows.get(("", "evaluations_per_image", ""))
    if asked is not None:
        return f"{float(asked['value']):g}"
    asked = rows.get(("", "queries_per_image", ""))
    return NONE if asked is None else f"{float(asked['value']):g} queries"


def board(name: str, *levels: str, study: str = "benchmark") -> str:
    """One leaderboard, with the TPR of its last level."""
    lines = []
    for title, rows in read(name, study).values():
        cells = [title, _shown(rows.get(("", "rank", "")), _rank)]
        cells += [_shown(rows.get((level, "auc", "")), unit) for level in levels]
        found = _shown(rows.get((levels[-1], "tpr", "0.01")), rate)
        lines.append([*cells, found, _cost(rows)])
    heads = [f"AUC, {level}" for level in levels]
    return table(("attack", "rank", *heads, "TPR at 1 % FPR", "evaluations"), lines)


def leaderboard() -> str:
    """Over all pixel targets."""
    return board("leaderboard", "barely", "half", "memorised")


def digits() -> str:
    """What shadow models add."""
    return board("digits", "with shadows")


def text() -> str:
    """On the text model."""
    levels = ("barely", "half", "memorised")
    return board("text", *levels, study="benchmark_text")


def cifar10() -> str:
    """On the target of CIFAR-10."""
    return board("leaderboard", "25 passes", "51 passes", study="cifar10")


def members() -> str:
    """Attacks by the size of the training set."""
    found: dict[str, dict[int, str]] = {}
    path = RESULTS / "sizes" / "exhibits" / "size.csv"
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["measure"] == "AUC":
                at = found.setdefault(row["curve"], {})
                at[int(row["at"])] = unit(_estimate(row))
    columns = sorted({size for at in found.values() for size in at})
    lines = [[title, *(at[size] for size in columns)] for title, at in found.items()]
    return table(("attack", *(f"{size:,} members" for size in columns)), lines)


def power(study: str, level: str, of: str, called: str) -> str:
    """Attacks against what they cost, by their cost.

    Args:
      study: its folder, and how its exhibits are called.
      level: of the targets.
      of: the attack that the others are held against, and how the table calls it.
    """
    measures: dict[tuple[str, str], dict[str, Estimate]] = {}
    path = RESULTS / study / "exhibits" / f"{study}_{level}.csv"
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if not row["audit"]:
                about = row["title"], row["evaluations_per_image"]
                measures.setdefault(about, {})[row["measure"]] = _estimate(row)
    lines = []
    for (title, cost), found in measures.items():
        less = found.get(f"{of}_less_this")
        beside = NONE if less is None else signed(less)
        shown = unit(found["auc"]), rate(found["tpr@0.01"]), beside
        lines.append([title, f"{float(cost):g}", *shown])
    heads = ("attack", "evaluations", "AUC", "TPR at 1 % FPR", f"{called} less this")
    return table(heads, lines)


PROCESSES = {"ddpm": "DDPM", "vp": "VP", "ve": "VE", "edm": "EDM", "flow": "Flow"}


def sized() -> str:
    """The learned attack with one size and with eight, beside all columns together."""
    lines = []
    for level in ("barely", "half"):
        means: list[list[float]] = []
        for key, process in PROCESSES.items():
            folder = f"{key}-0-{level}"
            ours, theirs = (audit(f"{s}/{folder}").attacks for s in ("sized", "power"))
            attacks = ours["learned"], ours["sized"], theirs["all"]
            less = _less(
                (f"sized/{folder}/sized", attacks[1]),
                (f"power/{folder}/all", attacks[2]),
            )
            aucs = [unit(a.auc) for a in attacks]
            lines.append([f"{process}, {level}", *aucs, signed(less)])
            means.append([e.interval[0] for e in (*(a.auc for a in attacks), less)])
        whole = [sum(column) / len(column) for column in zip(*means, strict=True)]
        cells = [*(f"**{value:.3f}**" for value in whole[:3]), f"**{whole[3]:+.3f}**"]
        lines.append([f"**mean, {level}**", *cells])
    heads = ("one size, 15 evaluations", "eight sizes, 15", "all columns, 227")
    return table(("target", *heads, "eight sizes less all columns"), lines)


def _less(
    first: tuple[str, AttackResult], second: tuple[str, AttackResult]
) -> Estimate:
    """By how much an AUC exceeds another on the same images."""
    one, other = (kept(name) for name, _ in (first, second))
    assert np.array_equal(one["ids"], other["ids"])
    assert np.array_equal(one["member"], other["member"])
    excess = (first[1].excess or 1.0, second[1].excess or 1.0)
    return paired(one["scores"], other["scores"], one["member"], excess=excess)


PROTOTYPES = {
    "once_60": ("Loss at step 60", 1, ".991 / .91", ".848 / .13"),
    "once_100": ("Loss at step 100", 1, ".988 / .75", ".853 / .16"),
    "once_143": ("Loss at step 143", 1, ".982 / .77", ".822 / .11"),
    "four_100": ("Loss at step 100, 4 noises", 4, ".994 / .97", ".873 / .12"),
    "loss_mc": ("Loss, 4 noises, best of 21", 84, ".994 / .91", ".865 / .16"),
    "sima": ("SimA, best of 21", 21, ".999 / 1.00", ".899 / .38"),
    "pia": ("PIA, best of 21", 22, NONE, ".721 / .00"),
    "secmi": ("SecMI, best of 22", 67, NONE, ".495 / .02"),
    "pfami": ("PFAMI, best of 21", 42, ".920 / .12", ".769 / .02"),
    "loss_mc_weighed": ("Loss, 4 noises, weighed", 84, NONE, ".887 / .27"),
    "sima_weighed": ("SimA, weighed", 21, NONE, ".904 / .45"),
    "pia_weighed": ("PIA, weighed", 22, ".896", ".853 / .08"),
    "secmi_weighed": ("SecMI, weighed", 67, ".975 / .88", ".779 / .22"),
    "all_weighed": ("All of these columns, weighed", 257, "1.000 / 1.00", ".947 / .59"),
    "likelihood": ("Likelihood", 32, ".906 / .22", ".664 / .05"),
}
"""Attack -> its name, evaluations, and AUC / TPR at 1 % FPR that prototypes had on the
two targets: a run before this package had the attacks, of other trainings."""


def prototypes() -> str:
    """Small attacks on two targets, beside what their prototypes had."""
    whole, half = (audit(f"prototypes/{name}").attacks for name in ("whole", "half"))
    lines = []
    for name, (title, cost, *had) in PROTOTYPES.items():
        cells = [title, f"{cost}"]
        for of, before in zip((whole[name], half[name]), had, strict=True):
            cells += [unit(of.auc), rate(of.tpr_at_fpr[0.01]), before]
        lines.append(cells)
    heads = []
    for target in ("wholly", "half"):
        heads += [f"AUC, {target}", "TPR at 1 % FPR", "prototype"]
    return table(("attack", "evaluations", *heads), lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "leaderboard": leaderboard,
    "digits": digits,
    "text": text,
    "cifar10": cifar10,
    "members": members,
    "prototypes": prototypes,
    "sized": sized,
    **{
        f"{study}_{level}": functools.partial(power, study, level, *of)
        for study, level, *of in (
            ("power", "barely", "learned", "learned"),
            ("power", "half", "learned", "learned"),
            ("sweep", "half", "fine", "coarse to fine"),
        )
    },
}
"""What the page holds of them."""
