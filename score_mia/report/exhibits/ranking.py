"""What leaderboards stand on: all attacks on one target, and means over targets.

Of each target all attacks are resampled on the same images, so that ranks and
differences are paired.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from score_mia.check import UserError, require
from score_mia.metrics.ranks import resampled
from score_mia.metrics.roc import auc, resolvable, tpr_at_fpr
from score_mia.report import table
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import Audit, Cell
from score_mia.report.text import SPACE, quantity
from score_mia.results import AttackResult

FPRS = (0.01, 0.001)


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """All attacks on one target, on the images that each of them judged.

    Attributes:
      audit: whose.
      names: of the attacks, one for each row of what follows.
      scores, member: [A, N] and [N] of the images.
      fprs: rates that the non-members can show.
      values: measure -> [A] or [A, F].
      drawn: the same in each resample, [A, B] or [A, B, F].
    """

    audit: Audit
    names: tuple[str, ...]
    scores: Float[np.ndarray, "a n"]
    member: Bool[np.ndarray, " n"]
    fprs: tuple[float, ...]
    values: Mapping[str, np.ndarray]
    drawn: Mapping[str, np.ndarray]

    def of(self, name: str, measure: str, fpr: float | None) -> tuple[float, Any]:
        """A number of an attack, and the same in each resample."""
        i = self.names.index(name)
        if fpr is None:
            return float(self.values[measure][i]), self.drawn[measure][i]
        k = self.fprs.index(fpr)
        return float(self.values[measure][i, k]), self.drawn[measure][i, :, k]


def shared(
    judged: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[Float[np.ndarray, "a n"], Bool[np.ndarray, " n"]]:
    """Scores [A, N] of the images that all attacks judged, by id, and who is a member.

    Args:
      judged: of each attack ids, scores and membership, as many of each.

    Raises:
      UserError: there is no such image.
    """
    common = judged[0][0]
    for ids, _, _ in judged[1:]:
        common = np.intersect1d(common, ids)
    remedy = "rank attacks that judge the same images"
    require(len(common) > 0, "leaderboard", "attacks share no image", remedy)
    scores, member = [], None
    for ids, values, inside in judged:
        order = np.argsort(ids)
        at = order[np.searchsorted(ids, np.sort(common), sorter=order)]
        scores.append(values[at])
        member = inside[at]
    return np.stack(scores), np.asarray(member, bool)


def board(audit: Audit, names: Sequence[str], replicates: int) -> Board:
    """All these attacks on one target.

    Raises:
      UserError: it has none of them, or they judge no image in common.
    """
    if not names:
        raise UserError(
            f"audit {audit.name!r} has none of the leaderboard's attacks; leave it out"
        )
    judged = [(audit.ids(n), audit.scores(n), audit.member(n)) for n in names]
    scores, member = shared(judged)
    fprs = tuple(f for f in FPRS if resolvable(f, int((~member).sum())))
    # Targets of one split and seed are resampled alike: they judge the same images.
    drawn = resampled(
        scores, member, fprs, replicates=replicates, seed=audit.result.seed
    )
    auc_ = np.array([auc(row, member) for row in scores])
    tpr = np.array([[tpr_at_fpr(row, member, f) for f in fprs] for row in scores])
    # Cross-fitted scores depend on each other: their replicates are spread likewise.
    excess = [audit.result.attacks[n].excess or 1.0 for n in names]
    wide = np.sqrt(excess)[:, None]
    spread = np.clip(auc_[:, None] + wide * (drawn.auc - auc_[:, None]), 0.0, 1.0)
    values = {"auc": auc_, "flipped": np.maximum(auc_, 1 - auc_), "tpr": tpr}
    flipped = np.maximum(spread, 1 - spread)
    many = {"auc": spread, "flipped": flipped, "tpr": drawn.tpr}
    return Board(audit, tuple(names), scores, member, fprs, values, many)


class Mean(NamedTuple):
    """A mean over targets, with the interval of its images' resamples."""

    value: float
    low: float
    high: float
    targets: int

    @property
    def cell(self) -> Cell:
        """As a number with three decimals."""
        if not self.targets:
            return none()
        return Cell(f"{self.value:.3f}", f"[{self.low:.3f},{SPACE}{self.high:.3f}]")

    @property
    def percent(self) -> Cell:
        """In per cent."""
        if not self.targets:
            return none()
        value, low, high = (100 * x for x in self[:3])
        interval = f"[{low:.1f},{SPACE}{high:.1f}]"
        return Cell(f"{value:.1f}{SPACE}%", interval)


def mean(boards: Sequence[Board], name: str, measure: str, fpr: float | None) -> Mean:
    """A measure of an attack, over those targets on which it was run."""
    return over_targets([b.of(name, measure, fpr) for b in boards if name in b.names])


def over_targets(parts: Sequence[tuple[float, Any]]) -> Mean:
    """The mean of a number over targets, and its interval.

    Args:
      parts: of each target the number, and the same of every resample of its images.
    """
    if not parts:
        return Mean(0.0, 0.0, 0.0, 0)
    value = float(np.mean([v for v, _ in parts]))
    drawn = np.mean([d for _, d in parts], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    # A mean that folds at one half lies above what its resamples are around.
    return Mean(value, min(float(low), value), max(float(high), value), len(parts))


def seconds(boards: Sequence[Board], name: str) -> float | None:
    """Of signals, an image; None where the machine's own file is not kept."""
    found = []
    for board in boards:
        result = board.audit.result
        split = result.split
        every = split.members + split.nonmembers + split.reference
        images = result.timings.images.get(name, every)
        if name in result.timings.seconds and images:
            found.append(result.timings.seconds[name] / images)
    return float(np.mean(found)) if found else None


def cost(entry: AttackResult) -> Cell:
    """Evaluations, queries, or both of an attack that reads several signals."""
    asked, own = entry.queries_per_image, entry.network_evaluations_per_image
    if asked is None or own is None:
        return Cell(*table.cost(entry))
    return Cell(quantity(own), f"evaluations and {quantity(asked)} queries")


def none() -> Cell:
    """In the place of a number that there is not."""
    return Cell(base.NONE, known=False)


def counts(boards: Sequence[Board]) -> tuple[int, int]:
    """Members and non-members, over targets."""
    inside = sum(int(b.member.sum()) for b in boards)
    return inside, sum(len(b.member) for b in boards) - inside
