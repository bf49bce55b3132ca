"""Attack power per evaluation: what an attack recognises against what it costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from score_mia.check import at_least, one_of, require
from score_mia.metrics.paired import paired
from score_mia.report import draw, table
from score_mia.report.exhibits import base, ranking
from score_mia.report.exhibits.base import Audit, Built, Cell, Planned, Row
from score_mia.report.exhibits.ranking import Board, Mean
from score_mia.report.style import PAPER, SERIES, figure, percent, styled
from score_mia.report.text import SPACE, level, quantity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CSV = ("attack", "title", "audit", "evaluations_per_image", "measure", "value")
CSV += ("low", "high", "members", "nonmembers")
FPR = 0.01


@dataclasses.dataclass(frozen=True)
class Power(base.Exhibit):
    """AUC and TPR at 1 % FPR against evaluations an image, over several targets.

    Attacks that cost no evaluation, or whose cost is not known, are left out.

    Attributes:
      attacks: which, with how they are called.
      of: the attack that all others are held against, on the same images.
      replicates: of the bootstrap over images that intervals of means come from.
    """

    attacks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    of: str = ""
    replicates: int = 1000

    heading: ClassVar[str] = "Attack power per evaluation"

    def __post_init__(self) -> None:
        require(len(self.attacks) > 1, "attacks", "are not several", "name two")
        one_of("of", self.of, self.attacks)
        at_least("replicates", self.replicates, 100)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse attacks that the audit will not have."""
        for attack in self.attacks:
            planned.find(attack)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        boards = [ranking.board(a, [*self.attacks], self.replicates) for a in audits]
        places = [self._place(name, boards) for name in self.attacks]
        places = sorted((p for p in places if p.cost > 0), key=lambda p: p.cost)
        remedy = "name attacks that ask a network"
        require(len(places) > 0, "power", "has no attack to show", remedy)
        told = self.attacks[self.of]
        header = (
            *("Attack", "Evaluations", "AUC", f"TPR at {level(FPR)}{SPACE}FPR"),
            *(f"AUC of “{told}” less this", "Ahead, and behind"),
        )
        rows = tuple(Row(self._cells(place, len(boards))) for place in places)
        return Built(
            _caption(boards, told, self.replicates),
            table.csv_text(CSV, self._lines(places, boards)),
            "AUC and TPR of attacks against the network evaluations of an image.",
            base.Table(header, rows),
            _drawn(places),
        )

    def _place(self, name: str, boards: Sequence[Board]) -> Place:
        entries = [b.audit.result.attacks[name] for b in boards]
        costs = [e.network_evaluations_per_image or 0.0 for e in entries]
        share = None
        if all(FPR in b.fprs for b in boards):
            share = ranking.mean(boards, name, "tpr", FPR)
        auc, less = ranking.mean(boards, name, "auc", None), None
        ahead = behind = 0
        if name != self.of:
            less = _less(boards, self.of, name)
            apart = [_apart(board, self.of, name) for board in boards]
            ahead = sum(low > 0 for low, _ in apart)
            behind = sum(high < 0 for _, high in apart)
        title = self.attacks[name]
        cost = float(np.mean(costs))
        return Place(name, title, cost, auc, share, less, ahead, behind)

    def _cells(self, place: Place, targets: int) -> tuple[Cell, ...]:
        none = ranking.none()
        beside = f"{place.ahead}, {place.behind}"
        return (
            *(Cell(place.title), Cell(quantity(place.cost)), place.auc.cell),
            none if place.tpr is None else place.tpr.percent,
            none if place.less is None else place.less.cell,
            none if place.less is None else Cell(beside, f"of {targets}"),
        )

    def _lines(self, places: Sequence[Place], boards: Sequence[Board]) -> list[tuple]:
        lines = []
        for place in places:
            parts = [("", boards), *((b.audit.name, [b]) for b in boards)]
            for audit, of in parts:
                counts = ranking.counts(of)
                about = (place.name, place.title, audit, place.cost)
                made = {"auc": ranking.mean(of, place.name, "auc", None)}
                if place.tpr is not None:
                    made[f"tpr@{FPR}"] = ranking.mean(of, place.name, "tpr", FPR)
                if place.less is not None:
                    made[f"{self.of}_less_this"] = _less(of, self.of, place.name)
                lines += [(*about, what, *m[:3], *counts) for what, m in made.items()]
        return lines


class Place(NamedTuple):
    """An attack between what it costs and what it recognises.

    Attributes:
      name, title: of the attack.
      cost: evaluations an image.
      auc, tpr: means over targets; no TPR where a target cannot show the rate.
      less: by what the attack in question exceeds its AUC; None of itself.
      ahead, behind: on how many targets that one is, by their paired intervals.
    """

    name: str
    title: str
    cost: float
    auc: Mean
    tpr: Mean | None
    less: Mean | None
    ahead: int
    behind: int


def _less(boards: Sequence[Board], first: str, second: str) -> Mean:
    """The mean difference of two attacks' AUCs, on the same resamples."""
    ones = [b.of(first, "auc", None) for b in boards]
    others = [b.of(second, "auc", None) for b in boards]
    both = zip(ones, others, strict=True)
    return ranking.over_targets([(a[0] - b[0], a[1] - b[1]) for a, b in both])


def _apart(board: Board, first: str, second: str) -> tuple[float, float]:
    """The ends of the paired interval of one target."""
    entries = [board.audit.result.attacks[name] for name in (first, second)]
    one, other = (entry.excess or 1.0 for entry in entries)
    ours, theirs = (board.scores[board.names.index(name)] for name in (first, second))
    found = paired(ours, theirs, board.member, excess=(one, other))
    return found.interval[1:]


def _caption(boards: Sequence[Board], told: str, replicates: int) -> str:
    counts = {(int(b.member.sum()), int((~b.member).sum())) for b in boards}
    most = max(counts)
    same = "" if len(counts) == 1 else " at most"
    return (
        f"Means over {len(boards)} targets, each of{same} {most[0]:,} members and "
        f"{most[1]:,} non-members that every attack judged; in brackets 95{SPACE}% "
        f"intervals of {replicates:,} resamples of these images, the same for all "
        "attacks. A derivative, which costs about one evaluation more, is not counted. "
        f"Ahead, and behind: on how many targets “{told}” has the larger, or the "
        f"smaller, AUC by more than the paired 95{SPACE}% interval of that target."
    )


def _drawn(places: Sequence[Place]) -> Figure:
    """Both measures against cost; a line joins the best at no more than each cost."""
    shown = [("AUC", "auc")]
    if all(place.tpr is not None for place in places):
        shown.append((f"TPR at {level(FPR)}{SPACE}FPR", "tpr"))
    asked = (place for place in places if place.less is None)
    shown_by_name = dict.fromkeys(p.name for p in (*_leading(places, "auc"), *asked))
    named = {name: i for i, name in enumerate(shown_by_name)}
    with styled():
        fig, (every,) = figure(10.4, 4.6, 1, len(shown))
        for axes, (title, measure) in zip(every, shown, strict=True):
            _panel(axes, places, measure, named)
            axes.set(xlabel="network evaluations an image", ylabel=title)
            axes.set_xscale("log")
            most = max(place.cost for place in places)
            ticks = [at for at in TICKS if at <= most]
            axes.set_xticks(ticks, [f"{at:,g}" for at in ticks])
            axes.minorticks_off()
            axes.grid(True, axis="y")
            if measure == "tpr":
                percent(axes.yaxis, log=False)
        draw.legend(fig, tuple(every))
        return fig


def _leading(places: Sequence[Place], measure: str) -> list[Place]:
    """Attacks that no cheaper one comes up to, by what they cost."""
    best: list[Place] = []
    for place in sorted(places, key=lambda p: (p.cost, -getattr(p, measure).value)):
        if not best or getattr(place, measure).value > getattr(best[-1], measure).value:
            best.append(place)
    return best


def _panel(
    axes: Axes, places: Sequence[Place], measure: str, named: Mapping[str, int]
) -> None:
    """The frontier of AUC and the attack in question by name; the others in grey."""
    for place in places:
        mean, i = getattr(place, measure), named.get(place.name)
        colour = PAPER["soft"] if i is None else PAPER[SERIES[i % len(SERIES)]]
        look: dict[str, Any] = {"color": colour, "ls": "none", "marker": "o", "ms": 4}
        label = "others, see the table"
        if i is not None:
            label = place.title
            look.update(marker=MARKERS[i % len(MARKERS)], ms=6, zorder=3)
        axes.vlines(place.cost, mean.low, mean.high, color=colour, lw=1)
        axes.plot([place.cost], [mean.value], label=label, **look)
    best = _leading(places, measure)
    x = [place.cost for place in best] + [max(place.cost for place in places)]
    y = [getattr(place, measure).value for place in best]
    look = {"color": PAPER["soft"], "lw": 1, "zorder": 0}
    axes.plot(x, [*y, y[-1]], drawstyle="steps-post", **look)


MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TICKS = tuple(d * 10**k for k in range(7) for d in (1, 2, 5))
