"""Which share of a set was trained on? After DUCI, data usage inference (Tong et al.
2025, ICLR; read as an abstract only).

    share = (g(suspects) - g(unseen)) / (TPR - FPR)

with g the part of a set that a membership attack accuses: a guess is right of members
with probability TPR and wrong of others with FPR, so the accused part of a set of which
a share p was used is p TPR + (1 - p) FPR on average.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import numpy as np
import scipy
from jaxtyping import Float

from score_mia.check import require, within
from score_mia.readings import Evidence
from score_mia.rules.lira import Lira
from score_mia.rules.protocol import Knowledge, SetEstimate


@dataclasses.dataclass(frozen=True)
class Duci:
    """The share of members in a set, debiased by what the guesses are worth.

    The guesses are `lira`'s. What they are worth is measured on shadow models: each in
    turn is attacked with the help of the others, and tells TPR and FPR at a threshold
    that all shadows' non-members set; the target is attacked with the same helpers.
    FPR on the target is that among the unseen. The interval is normal for the images
    that are drawn, and Student's for the models: the target's TPR varies as the
    shadows' do.

    Attributes:
      columns: names; None for all.
      online: as of `lira`.
      fpr: of the shadows, at which the threshold is set.
      level: coverage of the interval.
    """

    columns: tuple[str, ...] | None = None
    online: bool = True
    fpr: float = 0.1
    level: float = 0.95

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("shadows",))

    def __post_init__(self) -> None:
        within("fpr", self.fpr, 1e-6, 0.5)
        within("level", self.level, 0.5, 0.9999)
        _ = Lira(self.columns, self.online)

    def judge(self, suspects: Evidence, unseen: Evidence, seed: int) -> SetEstimate:
        """The share of the suspects; no interval but [0, 1] if guesses are no better
        than chance.

        Raises:
          UserError: fewer than three shadows, or what `lira` says.
        """
        del seed  # nothing is drawn
        others = suspects.others
        problem, remedy = f"is shown {len(others)} shadows", "it needs three or more"
        require(len(others) > 2, "set test 'duci'", problem, remedy)
        rule = Lira(self.columns, self.online)
        turns = [_turn(rule, suspects, unseen, j) for j in range(len(others))]
        outside = np.concatenate([turn.outside for turn in turns])
        threshold = float(np.quantile(outside, 1 - self.fpr))
        worth = np.asarray([turn.worth(threshold) for turn in turns])
        accused = [
            np.mean([side > threshold for side in sides], axis=0)
            for sides in zip(*((t.suspects, t.unseen) for t in turns), strict=True)
        ]
        return self._estimate(worth, *accused)

    def _estimate(
        self,
        worth: Float[np.ndarray, " s"],
        suspects: Float[np.ndarray, " n"],
        unseen: Float[np.ndarray, " m"],
    ) -> SetEstimate:
        """From TPR - FPR of each shadow and the guesses about each image."""
        models, tail = len(worth), (1 + self.level) / 2
        gain, spread = float(worth.mean()), float(worth.std(ddof=1))
        student = float(scipy.stats.t.ppf(tail, models - 1))
        about = (
            f"share by {len(suspects)} guesses beside {len(unseen)} unseen; TPR - FPR "
            f"of {models} shadows {gain:.3g}"
        )
        if gain - student * spread / np.sqrt(models) <= 0:
            about += ": no better than chance, so that the share cannot be told"
            return SetEstimate(0.5, 0.0, 1.0, about)
        share = float(suspects.mean() - unseen.mean()) / gain
        images = sum(float(side.var()) / len(side) for side in (suspects, unseen))
        reach = np.hypot(
            scipy.stats.norm.ppf(tail) * np.sqrt(images) / gain,
            # Of the shadows' mean, and of the one target.
            student * spread * np.sqrt(1 + 1 / models) * abs(share) / gain,
        )
        value, low, high = np.clip((share, share - reach, share + reach), 0.0, 1.0)
        return SetEstimate(float(value), float(low), float(high), about)


class Turn(NamedTuple):
    """Scores with the help of all shadows but one.

    Attributes:
      inside, outside: that shadow's own members' and others'.
      suspects, unseen: of the target's rows.
    """

    inside: Float[np.ndarray, " a"]
    outside: Float[np.ndarray, " b"]
    suspects: Float[np.ndarray, " n"]
    unseen: Float[np.ndarray, " m"]

    def worth(self, threshold: float) -> float:
        """TPR - FPR on that shadow."""
        return float(
            np.mean(self.inside > threshold) - np.mean(self.outside > threshold)
        )


def _turn(rule: Lira, suspects: Evidence, unseen: Evidence, j: int) -> Turn:
    others = suspects.others
    rest = tuple(other for k, other in enumerate(others) if k != j)
    nobody = suspects.target.select(np.zeros(len(suspects.target), bool))
    scorer = rule.fit(Evidence(nobody, rest))
    own = others[j]
    member = np.asarray(own.member, bool)
    scores = scorer(Evidence(own))
    return Turn(
        scores[member],
        scores[~member],
        scorer(suspects._replace(others=())),
        scorer(unseen._replace(others=())),
    )
