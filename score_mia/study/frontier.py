"""What privacy costs: epsilon against quality against what an attack still finds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from score_mia.auditing.plan import Plan
from score_mia.check import one_of
from score_mia.metrics.roc import FPRS
from score_mia.report import privacy
from score_mia.report.table import csv_text
from score_mia.report.text import SPACE, known, level, share
from score_mia.study import draw
from score_mia.study.clock import find
from score_mia.study.exhibit import (
    Built,
    Cell,
    Exhibit,
    Row,
    Table,
    levels,
    number,
    sizes,
)
from score_mia.study.finished import Finished
from score_mia.study.tables import NONE, distance, frechet_heading

QUALITIES = ("kid", "frechet")
GROUPS = {"members": "members", "nonmembers": "non-members"}


@dataclasses.dataclass(frozen=True)
class Frontier(Exhibit):
    """Epsilon, quality and TPR of several targets, controls marked.

    Attributes:
      attack: whose TPR.
      fpr: at which false-positive rate: 0.1, 0.01, 0.001 or 0.0001.
      quality: "kid" or "frechet".
      to: samples are held against "nonmembers", or against "members", to which a
        target that repeats its training set comes close without being good.
    """

    attack: str = "loss"
    fpr: float = 0.01
    quality: str = "kid"
    to: str = "nonmembers"

    heading: ClassVar[str] = "What privacy costs"

    def __post_init__(self) -> None:
        one_of("fpr", f"{self.fpr:g}", [f"{f:g}" for f in FPRS])
        one_of("quality", self.quality, QUALITIES)
        one_of("to", self.to, GROUPS)

    def check_audit(self, name: str, plan: Plan) -> None:
        find(plan, self.attack)

    def build(self, audits: Sequence[Finished]) -> Built:
        points = [self._point(a) for a in audits]
        distances = f"{self._distance(audits)} to {GROUPS[self.to]}"
        rate = f"TPR at {level(self.fpr)}{SPACE}FPR"
        header = (
            *("Target", "Training", "ε", "δ"),
            *(distances, rate, "Most that ε allows", "AUC"),
        )
        rows = [self._row(a, p) for a, p in zip(audits, points, strict=True)]
        return Built(
            "The accounted ε of each target, the quality of its samples, and what the "
            f"attack “{self.attack}” recognises. Evaluated on "
            f"{sizes(audits, self.attack)}; {levels(audits)} intervals. A bar is the "
            "most that ε leaves to any attack. Controls do one half of DP-SGD and "
            "guarantee nothing; a smaller distance is better. "
            + "; ".join(f"{i} {a.label}" for i, a in enumerate(audits, 1))
            + ".",
            csv_text(_CSV, self._csv(audits, points)),
            f"{distances} and {rate} against ε.",
            table=Table(header, tuple(rows)),
            figure=draw.frontier(points, distances, f"{self.attack}: {rate}"),
        )

    def _distance(self, audits: Sequence[Finished]) -> str:
        return "KID" if self.quality == "kid" else frechet_heading(audits)

    def _measured(self, audit: Finished) -> Mapping[str, Any] | None:
        quality = audit.metrics["target"].get("quality")
        return None if quality is None else quality[self.to][self.quality]

    def _tpr(self, audit: Finished) -> Mapping[str, Any]:
        return audit.entry(self.attack)["tpr_at_fpr"][f"{self.fpr:g}"]

    def _point(self, audit: Finished) -> draw.Point:
        about = audit.metrics["target"].get("privacy")
        kind = "none" if about is None else about["control"] or "private"
        most = privacy.ceiling(audit.metrics, np.array([self.fpr]))
        quality, tpr = self._measured(audit), self._tpr(audit)
        return draw.Point(
            kind,
            about["epsilon_pld"] if about else None,
            _interval(quality) if quality else None,
            _interval(tpr) if known(tpr) else None,
            None if most is None else float(most[0]),
        )

    def _row(self, audit: Finished, point: draw.Point) -> Row:
        about = audit.metrics["target"].get("privacy")
        quality = self._measured(audit)
        n = audit.counts(self.attack)[1]
        none = Cell(NONE)
        return Row(
            (
                Cell(audit.label),
                Cell(draw.KINDS[point.kind][0], _sampling(about)),
                Cell(f"{point.epsilon:.4g}") if point.epsilon else none,
                Cell(f"{about['delta']:g}") if about and point.epsilon else none,
                distance(quality) if quality else Cell("not measured", known=False),
                number(self._tpr(audit), n),
                none if point.ceiling is None else Cell(share(point.ceiling)),
                number(audit.entry(self.attack)["auc"], n, percent=False),
            )
        )

    def _csv(
        self, audits: Sequence[Finished], points: Sequence[draw.Point]
    ) -> Iterator[Sequence[Any]]:
        for audit, point in zip(audits, points, strict=True):
            about = audit.metrics["target"].get("privacy") or {}
            quality, tpr = self._measured(audit) or {}, self._tpr(audit)
            auc = audit.entry(self.attack)["auc"]
            yield (
                *(audit.name, audit.label, point.kind, point.epsilon),
                *(about.get("epsilon_rdp"), about.get("delta"), about.get("adjacency")),
                *(self.quality, self.to, *map(quality.get, _LIMITS)),
                *(self.attack, self.fpr, *map(tpr.get, _LIMITS), point.ceiling),
                *(*map(auc.get, _LIMITS), *audit.counts(self.attack), audit.level),
            )


_LIMITS = ("value", "low", "high")
_CSV = (
    *("audit", "model", "training", "epsilon", "epsilon_rdp", "delta", "adjacency"),
    *("quality", "to", "quality_value", "quality_low", "quality_high"),
    *("attack", "fpr", "tpr", "tpr_low", "tpr_high", "tpr_ceiling"),
    *("auc", "auc_low", "auc_high", "members", "nonmembers", "level"),
)


def _interval(found: Mapping[str, Any]) -> tuple[float, float, float]:
    value = found["value"]
    low, high = (value if found[k] is None else found[k] for k in ("low", "high"))
    return value, low, high


def _sampling(about: Mapping[str, Any] | None) -> str:
    """How training was made private, in small."""
    if about is None:
        return ""
    noise, clip = about["noise_multiplier"], about["clip"]
    return f"noise {noise:.3g}, clip {clip:g}, {about['adjacency'].replace('_', ' ')}"
