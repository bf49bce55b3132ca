"""A leaderboard: attacks ranked over many targets, with how sure their ranks are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from score_mia.check import UserError, at_least, one_of, require
from score_mia.metrics.ranks import Ranks, joined, ranks, resampled
from score_mia.metrics.roc import auc, resolvable, tpr_at_fpr
from score_mia.report import table
from score_mia.report.content import titles_of
from score_mia.report.exhibits import base
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.text import SPACE, level, quantity
from score_mia.results import AttackResult

FPRS = (0.01, 0.001)
CSV = ("attack", "title", "audit", "level", "measure", "fpr", "value", "low", "high")
CSV += ("members", "nonmembers")


@dataclasses.dataclass(frozen=True)
class Leaderboard(base.Exhibit):
    """Attacks by rank: AUC and TPR over targets of each level, and what they cost.

    Attributes:
      attacks: which, with how they are called; a list keeps the names, None takes all.
      levels: name of a level -> list of its audits, as shown; without it all audits
        are one.
      published: attack -> a figure of its paper, with what it was measured on.
      replicates: of the bootstrap over images that ranks and intervals come from.
    """

    attacks: Mapping[str, str] | tuple[str, ...] | None = None
    levels: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    published: Mapping[str, str] = dataclasses.field(default_factory=dict)
    replicates: int = 1000

    heading: ClassVar[str] = "Leaderboard"

    def __post_init__(self) -> None:
        at_least("replicates", self.replicates, 100)
        for name, audits in self.levels.items():
            some = isinstance(audits, list | tuple) and len(audits) > 0
            require(some, f"levels.{name}", "is no list", "name its audits")

    def among(self, names: Any) -> tuple[str, ...]:
        """The audits of its levels; without levels those of every exhibit."""
        named = tuple(names)
        for audits in self.levels.values():
            for name in audits:
                one_of("audit", name, named)
        shown = super().among(named)
        every = [name for audits in self.levels.values() for name in audits]
        return tuple(n for n in shown if n in every) if every else shown

    def check_audit(self, name: str, planned: Planned) -> None:
        """Any attacks will do: one that an audit lacks has no rank there."""

    def check(self, planned: Mapping[str, Planned]) -> None:
        """Refuse an attack that no audit will have."""
        super().check(planned)
        shown = self.among(planned)
        known = {attack for name in shown for attack in planned[name].attacks}
        for attack in (*(self.attacks or ()), *self.published):
            one_of("attack", attack, sorted(known))

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        boards = [_board(audit, self._wanted(audit), self) for audit in audits]
        titles = self._titles(audits)
        everywhere = set.intersection(*(set(b.names) for b in boards))
        order = [name for name in titles if any(name in b.names for b in boards)]
        require(len(order) > 0, "leaderboard", "has no attack to show", "name others")
        ranked = [name for name in order if name in everywhere]
        ranks_ = _over_targets(boards, ranked)
        groups = {name: [b for b in boards if b.audit.name in of]
                  for name, of in self._levels(audits).items()}  # fmt: skip
        groups = {name: of for name, of in groups.items() if of}
        # The best first; what is not ranked after them, in the config's order.
        whole = {n: _mean(boards, n, "auc", None) for n in order}
        order.sort(key=lambda n: (*ranks_.get(n, (np.inf,))[:1], -whole[n].value))
        rates = [f for f in FPRS if all(f in b.fprs for b in boards)]
        header = self._header(groups, rates)
        rows = [
            self._row(name, titles[name], boards, groups, rates, ranks_.get(name))
            for name in order
        ]
        lines = []
        for name in order:
            lines += _csv(name, titles[name], boards, groups, rates, ranks_.get(name))
        made = base.Table(header, tuple(rows))
        caption = _caption(audits, boards, ranked, order, self.replicates)
        return Built(caption, table.csv_text(CSV, lines), "Leaderboard.", made)

    def _wanted(self, audit: Audit) -> list[str]:
        have = audit.result.scored
        return [
            n for n in (have if self.attacks is None else self.attacks) if n in have
        ]

    def _titles(self, audits: Sequence[Audit]) -> dict[str, str]:
        if isinstance(self.attacks, Mapping):
            return dict(self.attacks)
        found: dict[str, str] = {}
        for audit in audits:
            found = titles_of(audit.result) | found
        if self.attacks is None:
            return found
        return {name: found.get(name, name) for name in self.attacks}

    def _levels(self, audits: Sequence[Audit]) -> Mapping[str, Sequence[str]]:
        return self.levels or {"": [audit.name for audit in audits]}

    def _header(self, groups: Mapping[str, Any], rates: Sequence[float]) -> tuple:
        last = [*groups][-1]
        of = f", {last}" if last else ""
        published = ("Published",) if self.published else ()
        return (
            *("Attack", "Rank"),
            *(f"AUC, {name}" if name else "AUC" for name in groups),
            *(f"TPR at {level(f)}{SPACE}FPR{of}" for f in rates),
            *("AUC as it is", "AUC, flipped below ½"),
            *("Cost of an image", "Seconds"),
            *published,
        )

    def _row(
        self,
        name: str,
        title: str,
        boards: Sequence[Board],
        groups: Mapping[str, Sequence[Board]],
        rates: Sequence[float],
        rank: tuple[float, float, float] | None,
    ) -> Row:
        last = groups[[*groups][-1]]
        entry = next(b.audit.result.attacks[name] for b in boards if name in b.names)
        seconds = _seconds(boards, name)
        cells = [Cell(title, entry.access), _rank(rank)]
        cells += [_mean(of, name, "auc", None).cell for of in groups.values()]
        cells += [_mean(last, name, "tpr", f).percent for f in rates]
        cells += [_mean(boards, name, how, None).cell for how in ("auc", "flipped")]
        cells += [_cost(entry)]
        cells += [_none() if seconds is None else Cell(f"{seconds:.2g}")]
        if self.published:
            figure = self.published.get(name)
            cells.append(_none() if figure is None else Cell(figure))
        return Row(tuple(cells))


# --- one target -----------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """All attacks on one target, on the images that each of them judged.

    Attributes:
      audit: whose.
      names: of the attacks, one for each row of what follows.
      member: [N] of the images.
      fprs: rates that the non-members can show.
      values: measure -> [A] or [A, F].
      drawn: the same in each resample, [A, B] or [A, B, F].
    """

    audit: Audit
    names: tuple[str, ...]
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


def _board(audit: Audit, names: Sequence[str], how: Leaderboard) -> Board:
    if not names:
        raise UserError(
            f"audit {audit.name!r} has none of the leaderboard's attacks; leave it out"
        )
    judged = [(audit.ids(n), audit.scores(n), audit.member(n)) for n in names]
    scores, member = shared(judged)
    fprs = tuple(f for f in FPRS if resolvable(f, int((~member).sum())))
    # Targets of one split and seed are resampled alike: they judge the same images.
    drawn = resampled(
        scores, member, fprs, replicates=how.replicates, seed=audit.result.seed
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
    return Board(audit, tuple(names), member, fprs, values, many)


# --- several --------------------------------------------------------------------------


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
            return _none()
        return Cell(f"{self.value:.3f}", f"[{self.low:.3f},{SPACE}{self.high:.3f}]")

    @property
    def percent(self) -> Cell:
        """In per cent."""
        if not self.targets:
            return _none()
        value, low, high = (100 * x for x in self[:3])
        interval = f"[{low:.1f},{SPACE}{high:.1f}]"
        return Cell(f"{value:.1f}{SPACE}%", interval)


def _mean(boards: Sequence[Board], name: str, measure: str, fpr: float | None) -> Mean:
    parts = [b.of(name, measure, fpr) for b in boards if name in b.names]
    if not parts:
        return Mean(0.0, 0.0, 0.0, 0)
    value = float(np.mean([v for v, _ in parts]))
    drawn = np.mean([d for _, d in parts], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    # A mean that folds at one half lies above what its resamples are around.
    return Mean(value, min(float(low), value), max(float(high), value), len(parts))


def _over_targets(
    boards: Sequence[Board], names: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """Median and interval of each rank, over all targets and all resamples."""
    if not names:
        return {}
    whole = joined([_ranks(board, names) for board in boards])
    return dict(zip(names, whole.summary(), strict=True))


def _ranks(board: Board, names: Sequence[str]) -> Ranks:
    rows = [board.names.index(name) for name in names]
    return ranks(board.drawn["auc"][rows])


def _seconds(boards: Sequence[Board], name: str) -> float | None:
    """Of signals, an image; None where the machine's own file is not kept."""
    found = []
    for board in boards:
        result = board.audit.result
        split = result.split
        images = split.members + split.nonmembers + split.reference
        if name in result.timings.seconds and images:
            found.append(result.timings.seconds[name] / images)
    return float(np.mean(found)) if found else None


def _cost(entry: AttackResult) -> Cell:
    """Evaluations, queries, or both of an attack that reads several signals."""
    asked, own = entry.queries_per_image, entry.network_evaluations_per_image
    if asked is None or own is None:
        return Cell(*table.cost(entry))
    return Cell(quantity(own), f"evaluations and {quantity(asked)} queries")


def _rank(rank: tuple[float, float, float] | None) -> Cell:
    if rank is None:
        return _none()
    middle, low, high = rank
    return Cell(quantity(middle), f"[{low:g},{SPACE}{high:g}]")


def _none() -> Cell:
    return Cell(base.NONE, known=False)


def _csv(
    name: str,
    title: str,
    boards: Sequence[Board],
    groups: Mapping[str, Sequence[Board]],
    rates: Sequence[float],
    rank: tuple[float, float, float] | None,
) -> list[tuple[Any, ...]]:
    """Over all targets, by level, and of each target by itself."""
    about, lines = (name, title), []
    if rank is not None:
        lines.append((*about, "", "", "rank", "", *rank))
    parts = [("", "", boards)]
    parts += [("", level_, of) for level_, of in groups.items() if level_]
    for level_, of in groups.items():
        parts += [(board.audit.name, level_, [board]) for board in of]
    asked = [("auc", None), ("flipped", None), *(("tpr", f) for f in rates)]
    for audit, level_, of in parts:
        for measure, fpr in asked:
            mean = _mean(of, name, measure, fpr)
            if mean.targets:
                called = "auc_flipped_below_half" if measure == "flipped" else measure
                counts = _counts(of)
                line = (
                    *about,
                    audit,
                    level_,
                    called,
                    "" if fpr is None else f"{fpr:g}",
                )
                lines.append((*line, *mean[:3], *counts))
    seconds = _seconds(boards, name)
    if seconds is not None:
        lines.append((*about, "", "", "seconds_per_image", "", seconds))
    entry = next(b.audit.result.attacks[name] for b in boards if name in b.names)
    costs = {"evaluations_per_image": entry.network_evaluations_per_image}
    costs["queries_per_image"] = entry.queries_per_image
    for called, cost in costs.items():
        if cost is not None:
            lines.append((*about, "", "", called, "", cost))
    return lines


def _counts(boards: Sequence[Board]) -> tuple[int, int]:
    inside = sum(int(b.member.sum()) for b in boards)
    return inside, sum(len(b.member) for b in boards) - inside


def _caption(
    audits: Sequence[Audit],
    boards: Sequence[Board],
    ranked: Sequence[str],
    order: Sequence[str],
    replicates: int,
) -> str:
    counts = {(int(b.member.sum()), int((~b.member).sum())) for b in boards}
    most = max(counts)
    same = "" if len(counts) == 1 else " at most"
    targets = f"{len(audits)} target{'s' if len(audits) > 1 else ''}"
    said = (
        f"Means over {targets}, each of{same} {most[0]:,} members and {most[1]:,} "
        f"non-members that every attack judged; in brackets 95{SPACE}% intervals of "
        f"{replicates:,} resamples of these images, the same for all attacks. Rank: "
        f"median over targets and resamples among {len(ranked)} attacks, by AUC; "
        "attacks of equal AUC share places. “Flipped”: the larger of AUC and "
        "1 minus AUC of each target, as a table shows it that takes the better "
        "orientation after the labels are seen."
    )
    if len(ranked) < len(order):
        said += f" {base.NONE}: not run on every target, hence not ranked."
    return said
