"""Which images a rule is fitted on, and by which it is judged.

Whatever a rule selects (a column, a penalty), it selects within its fit, from what the
fit is shown: a scheme only deals the images out. No image has its score from a rule
that saw its label, and no threshold is set by an image that is held against it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from score_mia.arrays import hashed
from score_mia.check import UserError, at_least, require
from score_mia.metrics.crossfit import independent_variance
from score_mia.metrics.roc import allowed, auc, threshold_at
from score_mia.readings import Evidence, Readings
from score_mia.rules.protocol import Knowledge, Rule, Scorer

Scores = Float[np.ndarray, " n"]

_RATES = (0.01, 0.1)
"""The nominal FPRs of the fixed threshold: the first that can be shown is taken."""

_CELLS = 2**26
"""Numbers up to which the readings are held in memory while a rule is refitted."""


class Known(NamedTuple):
    """What a scheme deals out.

    Attributes:
      evidence: readings of all images, unlabelled and finite.
      member, reference: [N] their roles in the split.
      knows: what a fit is shown.
      seed: of the permutations.
      refined: whether the reference images, but for `calibrating`, had a part in what
        was read: then no others may set a threshold.
    """

    evidence: Evidence
    member: Bool[np.ndarray, " n"]
    reference: Bool[np.ndarray, " n"]
    knows: Knowledge = "split"
    seed: int = 0
    refined: bool = False

    def shown(self, rows: Bool[np.ndarray, " n"]) -> Evidence:
        """Some rows with their labels."""
        target = self.evidence.target.select(rows)
        labelled = dataclasses.replace(target, member=self.member[rows])
        return self.evidence._replace(target=labelled)

    def permuted(self, parts: Int[np.ndarray, " n"], stream: int) -> Known:
        """With the labels shuffled within each part [N], by a stream of the seed."""
        rng = np.random.default_rng([self.seed, stream])
        order = np.lexsort((rng.random(len(parts)), parts))
        member = np.empty_like(self.member)
        member[order] = self.member[np.argsort(parts, kind="stable")]
        return self._replace(member=member)


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """What a scheme comes to.

    Attributes:
      scorer: for images that took no part.
      scores: [n] of the judged images.
      calibration: how many non-members may set the fixed threshold.
      threshold: the same for all, or [n]; None if they are too few.
      nominal: the FPR it is set for.
      excess: by what the variance of a number exceeds that of independent scores.
      known_members: of the judged images, such as the rule was fitted on.
    """

    scorer: Scorer
    scores: Float[np.ndarray, " n"]
    calibration: int
    threshold: float | Float[np.ndarray, " n"] | None
    nominal: float | None
    excess: float = 1.0
    known_members: int = 0


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Fitted on the split's reference images, judged by the others.

    Half of the reference non-members are held out of the fit for the threshold, if they
    are enough for the rate of 10 % and the rule can do with the others; if not, the
    rule gets them all and no threshold is set. A rule that learns nothing wastes none.
    What learns of shadow models gets its threshold of theirs, in the same way: every
    other of their non-members is held out of the fit. A rule that knows nothing else
    has laws of single images, of which none can be held out: each shadow in turn is
    attacked with the help of the others, and its non-members set the threshold.
    """

    def judged(self, known: Known) -> Bool[np.ndarray, " n"]:
        """The mask [N] of the images that get a score."""
        return ~known.reference

    def score(self, rule: Rule, known: Known) -> Scored:
        """Fit, and score the judged images."""
        if known.knows == "shadows" and "split" not in rule.accepts:
            scorer, theirs = _turn_by_turn(rule, known)
        else:
            scorer, strangers = _strangers(rule, known)
            theirs = [scorer(rows) for rows in strangers if len(rows.target)]
        scores = np.asarray(scorer(known.evidence.select(self.judged(known))), float)
        count = sum(map(len, theirs))
        nominal, threshold = _rate(count), None
        if nominal is not None:
            threshold = threshold_at(np.concatenate(theirs), nominal)
        known_members = self.judged(known) & known.reference & known.member
        left = int(known_members.sum())  # by a scheme that counts as others have
        return Scored(scorer, scores, count, threshold, nominal, known_members=left)

    def permuted(
        self, rule: Rule, known: Known, scores: Scores | None = None
    ) -> tuple[Scores, Bool[np.ndarray, " n"]]:
        """Scores [n] and labels [n] of the judged, all with shuffled labels.

        Args:
          rule, known: what is fitted, and on what.
          scores: of the judged with the true labels, which stay what they are where
            the target's labels have no part in the fit.
        """
        shuffled = known.permuted(known.reference.astype(int), 0)
        if scores is None or known.knows not in ("none", "shadows"):
            scores = self.score(rule, shuffled).scores
        return scores, shuffled.member[self.judged(known)]

    def quick(self) -> HeldOut:
        """The same, to be tried out."""
        return self


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """Every image of the split is scored by a rule fitted on the other folds.

    Folds go by a hash of the id. A fold's scores are put on one scale by the mean and
    the standard deviation of its fit's non-members, and held against a threshold that
    the other folds' non-members set.

    Cross-fitted scores depend on each other: one image helps to score many. How much
    wider that makes an interval is measured by permutations of the labels within folds,
    refitted and all, against the variance of independent scores; the quantile of
    Student's t makes up for their number. Simulated coverage at 95 %: `tests/rules/
    test_scheme.py`.

    Attributes:
      folds: how many.
      permutations: how many; each costs as many fits as there are folds.
    """

    folds: int = 5
    permutations: int = 50

    def __post_init__(self) -> None:
        at_least("scheme.folds", self.folds, 2)
        at_least("scheme.permutations", self.permutations, 2)

    def judged(self, known: Known) -> Bool[np.ndarray, " n"]:
        """The mask [N] of the images that get a score: all."""
        return np.ones(len(known.member), bool)

    def score(self, rule: Rule, known: Known) -> Scored:
        """Fit on all folds but one, for each in turn, and score that one."""
        known, fold = _held(known), self.fold(known.evidence.target.ids)
        scorer, scores = self._pass(rule, known, fold)
        null = np.empty(self.permutations)
        for i in range(self.permutations):
            shuffled = known.permuted(fold, 1 + i)
            null[i] = auc(self._pass(rule, shuffled, fold)[1], shuffled.member)
        few = scipy.stats.t.ppf(0.975, self.permutations) / scipy.stats.norm.ppf(0.975)
        spread = np.mean((null - 0.5) ** 2) / independent_variance(known.member)
        others = [self._strangers(known, fold, j) for j in range(self.folds)]
        nominal, threshold = _rate(min(int(rows.sum()) for rows in others)), None
        if nominal is not None:
            each = [threshold_at(scores[rows], nominal) for rows in others]
            threshold = np.asarray(each)[fold]
        strangers = int(np.count_nonzero(~known.member))
        excess = max(1.0, float(spread * few**2))
        return Scored(scorer, scores, strangers, threshold, nominal, excess)

    def permuted(
        self, rule: Rule, known: Known, scores: Scores | None = None
    ) -> tuple[Scores, Bool[np.ndarray, " n"]]:
        """Scores [N] and labels [N], all with shuffled labels."""
        known = _held(known)
        fold = self.fold(known.evidence.target.ids)
        shuffled = known.permuted(fold, 0)
        return self._pass(rule, shuffled, fold)[1], shuffled.member

    def quick(self) -> CrossFit:
        """The same with next to no permutations, to be tried out."""
        return dataclasses.replace(self, permutations=2)

    def fold(self, ids: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """The fold of each image, by its place in the order of a hash of the ids."""
        fold = np.empty(len(ids), np.int64)
        fold[np.argsort(hashed(ids, 2), kind="stable")] = np.arange(len(ids))
        return fold % self.folds

    def _pass(
        self, rule: Rule, known: Known, fold: np.ndarray
    ) -> tuple[Folded, np.ndarray]:
        scores, parts = np.empty(len(fold)), []
        for j in range(self.folds):
            strangers = self._strangers(known, fold, j)
            rows = strangers if known.knows == "population" else fold != j
            scorer = rule.fit(known.shown(rows))
            own = np.asarray(scorer(known.evidence.select(strangers)), float)
            part = Part(scorer, float(own.mean()), float(own.std()) or 1.0)
            scores[fold == j] = part(known.evidence.select(fold == j))
            parts.append(part)
        return Folded(tuple(parts)), scores

    def _strangers(self, known: Known, fold: np.ndarray, j: int) -> np.ndarray:
        """The non-members of the other folds."""
        rows = ~known.member & (fold != j)
        require(
            int(rows.sum()) >= 2 and bool(np.any(fold == j)),
            f"scheme.folds={self.folds}",
            f"leaves {int(rows.sum())} non-members beside a fold",
            "give fewer folds, or a larger split",
        )
        return rows


class Part(NamedTuple):
    """The scorer of one fold, and the scale of its scores."""

    scorer: Scorer
    mean: float
    std: float

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [n] in standard deviations of the fit's non-members."""
        return (np.asarray(self.scorer(rows), float) - self.mean) / self.std


@dataclasses.dataclass(frozen=True)
class Folded:
    """The scorers of all folds, for images that none of them saw: their mean."""

    parts: tuple[Part, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that one of them reads."""
        return tuple(dict.fromkeys(c for p in self.parts for c in p.scorer.columns))

    @property
    def about(self) -> str:
        """What the first fit chose, and how many there are."""
        first = self.parts[0].scorer
        return f"cross-fitted in {len(self.parts)} folds; in the first: {first.about}"

    @property
    def fitted_on(self) -> int:
        """How many images the smallest fit learned from."""
        return min(part.scorer.fitted_on for part in self.parts)

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """The mean [n] of their scores."""
        return np.mean([part(rows) for part in self.parts], axis=0)


Scheme = HeldOut | CrossFit
HELD_OUT = HeldOut()

SCHEMES: dict[str, Callable] = {"held_out": HeldOut, "cross_fit": CrossFit}
"""Name in a config -> class."""


def _rate(strangers: int) -> float | None:
    """1 % with 99 non-members or more, else 10 % with 9 or more, else none."""
    shown = (fpr for fpr in _RATES if allowed(fpr, strangers + 1) >= 1)
    return next(shown, None)


def _held(known: Known) -> Known:
    """With the readings in memory, unless they are many."""
    rows = known.evidence.target
    if len(rows) * len(rows.names) > _CELLS:
        return known
    target = Readings.of(rows.matrix(), rows.ids, rows.names)
    return known._replace(evidence=known.evidence._replace(target=target))


def _strangers(rule: Rule, known: Known) -> tuple[Scorer, tuple[Evidence, ...]]:
    """The fitted rule, and non-members that it did not see, of whichever model."""
    if known.knows == "shadows":
        return _beside_shadows(rule, known)
    scorer, held_out = _held_out(rule, known)
    return scorer, (known.evidence.select(held_out),)


def _turn_by_turn(rule: Rule, known: Known) -> tuple[Scorer, list[np.ndarray]]:
    """The rule fitted on all shadows, and its scores of each one's non-members.

    Of each with the help of the others; none where these are too few for the rule.
    """
    nobody = known.shown(np.zeros(len(known.member), bool))
    scorer, theirs = rule.fit(nobody), []
    for j, other in enumerate(nobody.others):
        rest = tuple(o for k, o in enumerate(nobody.others) if k != j)
        outside = Evidence(other.select(~np.asarray(other.member, bool)), rest)
        try:
            helped = rule.fit(nobody._replace(others=rest))
            theirs.append(np.asarray(helped(outside.unlabelled()), float))
        except UserError:
            continue
    return scorer, theirs


def _beside_shadows(rule: Rule, known: Known) -> tuple[Scorer, tuple[Evidence, ...]]:
    """The rule fitted on shadow models, and those of their rows that it did not see."""
    nobody = known.shown(np.zeros(len(known.member), bool))
    fit, strangers = [], []
    for other in known.evidence.others:
        outside = ~np.asarray(other.member, bool)
        held_out = half(other.ids, outside)
        fit.append(other.select(~held_out))
        strangers.append(Evidence(other.select(held_out)).unlabelled())
    return rule.fit(nobody._replace(others=tuple(fit))), tuple(strangers)


def _held_out(rule: Rule, known: Known) -> tuple[Scorer, np.ndarray]:
    """The fitted rule, and the non-members [N] that may set its threshold."""
    nobody = np.zeros(len(known.member), bool)
    strangers = known.reference & ~known.member
    rows = strangers if known.knows == "population" else known.reference
    if known.knows in ("none", "shadows"):
        return rule.fit(known.shown(nobody)), nobody
    require(
        bool(rows.any()),
        "the rule",
        f"wants {known.knows!r} reference data and the split has none",
        "set split.reference above 0, or the attack's knows to 'none'",
    )
    held_out = calibrating(known.evidence.target.ids, strangers)
    if held_out.any():
        try:
            scorer = rule.fit(known.shown(rows & ~held_out))
        except UserError:
            pass  # too few for this rule: it tells so again below, if all are too few
        else:
            chose = scorer.fitted_on or known.refined
            return scorer, held_out if chose else strangers
    scorer = rule.fit(known.shown(rows))
    return scorer, nobody if scorer.fitted_on or known.refined else strangers


def calibrating(
    ids: Int[np.ndarray, " n"], strangers: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Mask [N] of the known non-members that set thresholds and nothing else.

    Half of them, as `half` deals them; none if these would be too few for a threshold.
    """
    held_out = half(ids, strangers)
    enough = allowed(_RATES[-1], int(held_out.sum()) + 1) >= 1
    return held_out if enough else np.zeros_like(held_out)


def half(
    ids: Int[np.ndarray, " n"], rows: Bool[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Mask [N] of every other one of the rows, in the order of a hash of their ids.

    The same images in every attack, in every run and on every host.
    """
    index = np.flatnonzero(rows)
    mask = np.zeros(len(ids), bool)
    mask[index[np.argsort(hashed(ids[index]), kind="stable")][1::2]] = True
    return mask
