"""Exhibits: tables, figures and pictures over several finished audits, from files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from score_mia.report.exhibits.attacks import AttackGrid, AttackTable
from score_mia.report.exhibits.base import (
    Audit,
    Built,
    Cell,
    Exhibit,
    Noised,
    Planned,
    PlannedAttack,
    Row,
    Strip,
    Table,
)
from score_mia.report.exhibits.curves import AttackCurve
from score_mia.report.exhibits.differences import Differences
from score_mia.report.exhibits.figures import Perturbed, Roc, Samples, TprByStep
from score_mia.report.exhibits.frontier import Frontier
from score_mia.report.exhibits.leaderboard import Leaderboard
from score_mia.report.exhibits.power import Power
from score_mia.report.exhibits.tables import (
    Extra,
    LikelihoodTable,
    LossTable,
    QualityTable,
    RateRow,
)

EXHIBITS: dict[str, Callable[..., Any]] = {
    "quality_table": QualityTable,
    "loss_table": LossTable,
    "likelihood_table": LikelihoodTable,
    "tpr_by_step": TprByStep,
    "roc": Roc,
    "perturbed": Perturbed,
    "samples": Samples,
    "frontier": Frontier,
    "attack_table": AttackTable,
    "attack_grid": AttackGrid,
    "attack_curve": AttackCurve,
    "leaderboard": Leaderboard,
    "power": Power,
    "differences": Differences,
}
"""Name in a config -> class."""

__all__ = [
    "EXHIBITS",
    "Audit",
    "Built",
    "Cell",
    "Exhibit",
    "Extra",
    "Noised",
    "Planned",
    "PlannedAttack",
    "RateRow",
    "Row",
    "Strip",
    "Table",
]
