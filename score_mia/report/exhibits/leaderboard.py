"""A leaderboard: attacks ranked over many targets, with how sure their ranks are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from score_mia.check import at_least, one_of, require
from score_mia.metrics.ranks import Ranks, joined, ranks
from score_mia.report import table
from score_mia.report.content import titles_of
from score_mia.report.exhibits import base, ranking
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.text import SPACE, level, quantity

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
        boards = [
            ranking.board(audit, self._wanted(audit), self.replicates)
            for audit in audits
        ]
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
        whole = {n: ranking.mean(boards, n, "auc", None) for n in order}
        order.sort(key=lambda n: (*ranks_.get(n, (np.inf,))[:1], -whole[n].value))
        rates = [f for f in ranking.FPRS if all(f in b.fprs for b in boards)]
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
        boards: Sequence[ranking.Board],
        groups: Mapping[str, Sequence[ranking.Board]],
        rates: Sequence[float],
        rank: tuple[float, float, float] | None,
    ) -> Row:
        last = groups[[*groups][-1]]
        entry = next(b.audit.result.attacks[name] for b in boards if name in b.names)
        seconds = ranking.seconds(boards, name)
        cells = [Cell(title, entry.access), _rank(rank)]
        cells += [ranking.mean(of, name, "auc", None).cell for of in groups.values()]
        cells += [ranking.mean(last, name, "tpr", f).percent for f in rates]
        cells += [
            ranking.mean(boards, name, how, None).cell for how in ("auc", "flipped")
        ]
        cells += [ranking.cost(entry)]
        cells += [ranking.none() if seconds is None else Cell(f"{seconds:.2g}")]
        if self.published:
            figure = self.published.get(name)
            cells.append(ranking.none() if figure is None else Cell(figure))
        return Row(tuple(cells))


def _over_targets(
    boards: Sequence[ranking.Board], names: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """Median and interval of each rank, over all targets and all resamples."""
    if not names:
        return {}
    whole = joined([_ranks(board, names) for board in boards])
    return dict(zip(names, whole.summary(), strict=True))


def _ranks(board: ranking.Board, names: Sequence[str]) -> Ranks:
    rows = [board.names.index(name) for name in names]
    return ranks(board.drawn["auc"][rows])


def _rank(rank: tuple[float, float, float] | None) -> Cell:
    if rank is None:
        return ranking.none()
    middle, low, high = rank
    return Cell(quantity(middle), f"[{low:g},{SPACE}{high:g}]")


def _csv(
    name: str,
    title: str,
    boards: Sequence[ranking.Board],
    groups: Mapping[str, Sequence[ranking.Board]],
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
            mean = ranking.mean(of, name, measure, fpr)
            if mean.targets:
                called = "auc_flipped_below_half" if measure == "flipped" else measure
                counts = ranking.counts(of)
                line = (
                    *about,
                    audit,
                    level_,
                    called,
                    "" if fpr is None else f"{fpr:g}",
                )
                lines.append((*line, *mean[:3], *counts))
    seconds = ranking.seconds(boards, name)
    if seconds is not None:
        lines.append((*about, "", "", "seconds_per_image", "", seconds))
    entry = next(b.audit.result.attacks[name] for b in boards if name in b.names)
    costs = {"evaluations_per_image": entry.network_evaluations_per_image}
    costs["queries_per_image"] = entry.queries_per_image
    for called, cost in costs.items():
        if cost is not None:
            lines.append((*about, "", "", called, "", cost))
    return lines


def _caption(
    audits: Sequence[Audit],
    boards: Sequence[ranking.Board],
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
