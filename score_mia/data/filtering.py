"""Adversarial filtering: keep what a classifier cannot tell from the other class.

Dubiński et al. 2024 (LAION-mi, 2306.12983) train a classifier to tell non-members from
members, keep of fresh members those that it takes for non-members, and repeat with
larger classifiers. `How.keep` has that rule and two that aim at equal laws. Here every
pool is cut into three parts that meet nowhere:

    fit      classifiers are trained on it; none of it is in the final lists
    select   a two-sample test on what is left of it says whether another round is due
    test     the same test, once before the rounds and once after: what is reported

Classifiers see fit alone, so what they leave of select and test is a sample of one law,
and no test is chosen by what it reports.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int

from score_mia.check import UserError, at_least, finite, one_of, positive, require
from score_mia.check import within as _within
from score_mia.results import Estimate

PARTS = ("fit", "select", "test")
KEEP = ("overlap", "matched", "misclassified")

_BULK = 0.95
"""Share of the non-members whose odds "matched" reproduces in full: a higher one would
let few outliers among them cost most members."""


@runtime_checkable
class Estimator(Protocol):
    """What scikit-learn's classifiers have."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Learn labels [n] (1: member) from standardised features [n, k]."""
        ...

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """Probabilities [n, 2] of non-member and member."""
        ...


@runtime_checkable
class Classifier(Protocol):
    """A config's classifier: fields, and an estimator made of them."""

    def estimator(self, seed: int) -> Estimator:
        """A fresh one, random by the seed alone."""
        ...


@dataclasses.dataclass(frozen=True)
class Linear:
    """Logistic regression.

    Attributes:
      c: inverse strength of the ridge penalty.
    """

    c: float = 0.1

    def __post_init__(self) -> None:
        positive("c", self.c)

    def estimator(self, seed: int) -> Estimator:
        """scikit-learn's."""
        from sklearn.linear_model import LogisticRegression

        del seed  # its solution is unique
        made: Any = LogisticRegression(C=self.c, max_iter=2000)
        return made


@dataclasses.dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron, trained by Adam and stopped early.

    A fifth of what it is given is held out by itself, to stop by.

    Attributes:
      hidden: widths of its layers; LAION-mi's is (4096,).
      rate: of learning.
      epochs: at most.
      patience: epochs without progress after which it stops.
    """

    hidden: tuple[int, ...] = (256,)
    rate: float = 1e-3
    epochs: int = 100
    patience: int = 10

    def __post_init__(self) -> None:
        for width in self.hidden:
            at_least("hidden", width, 1)
        positive("rate", self.rate)
        at_least("epochs", self.epochs, 1)
        at_least("patience", self.patience, 1)

    def estimator(self, seed: int) -> Estimator:
        """scikit-learn's."""
        from sklearn.neural_network import MLPClassifier

        made: Any = MLPClassifier(
            self.hidden,
            learning_rate_init=self.rate,
            max_iter=self.epochs,
            early_stopping=True,
            validation_fraction=0.2,
            n_iter_no_change=self.patience,
            random_state=seed,
        )
        return made


@dataclasses.dataclass(frozen=True)
class WideMLP(MLP):
    """The same with two layers, wider.

    Attributes:
      hidden: widths of its layers; LAION-mi's are (8192, 512).
    """

    hidden: tuple[int, ...] = (1024, 256)


CLASSIFIERS = {"linear": Linear, "mlp": MLP, "wide_mlp": WideMLP}
"""What a round may train; or one's own, as "module:Name", which is a `Classifier`."""


@dataclasses.dataclass(frozen=True)
class How:
    """How pools are filtered.

    Attributes:
      keep: "overlap" thins both pools to the law that they share: an image stays with
        probability min(1, odds of the other class), so that either keeps the smaller
        of the two densities. "matched" leaves non-members alone and keeps a member
        with a probability proportional to its odds of being a non-member. Both are
        rejection sampling (von Neumann 1951) by the density ratio that a classifier
        estimates. "misclassified" is LAION-mi's: members that every classifier takes
        for non-members; what is left has an edge where the classifier draws its line.
      shares: of either pool in the parts fit, select and test.
      folds: classifiers of a round, each trained on all but one fold of fit (5: 80/20)
        and held against that fold; the others are judged by their mean.
      most: images of either class that a round trains on at most.
      least: images of either class that must be left in select and in test; a round
        that would leave fewer is not made.
      until: p-value on select from which on no further round is due. Rounds begin only
        if the interval leaves out 1/2, and a test of few images passes easily: what
        has begun goes on until there is not even a weak sign.
      seed: of parts, folds, classifiers and thinning.
    """

    keep: str = "overlap"
    shares: tuple[float, float, float] = (0.5, 0.25, 0.25)
    folds: int = 5
    most: int = 40_000
    least: int = 20
    until: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("rounds.keep", self.keep, KEEP)
        ok = min(self.shares) > 0 and abs(sum(self.shares) - 1) < 1e-6
        remedy = "give three positive shares whose sum is 1"
        require(ok, f"rounds.shares={self.shares!r}", "cut no pool in three", remedy)
        _within("rounds.folds", self.folds, 2, 20)
        at_least("rounds.most", self.most, 2 * self.folds)
        at_least("rounds.least", self.least, 2)
        _within("rounds.until", self.until, 0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a two-sample test says.

    Attributes:
      auc: of a cross-fitted classifier, with its interval.
      p_value: of equal groups.
      n: members and non-members.
    """

    auc: Estimate
    p_value: float
    n: tuple[int, int]

    @property
    def apart(self) -> bool:
        """Whether the interval leaves out 1/2: the groups differ by distribution."""
        _, low, high = self.auc.interval
        return not low <= 0.5 <= high


Judge = Callable[[Bool[np.ndarray, " n"]], Verdict]
"""Tests the members against the non-members among some rows."""


@dataclasses.dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
      classifier: its name and fields.
      auc: of the classifier on the folds that it did not see.
      members, nonmembers: left after it, in all parts.
      select: the test on what is left of select.
    """

    classifier: str
    auc: float
    members: int
    nonmembers: int
    select: Verdict


@dataclasses.dataclass(frozen=True, eq=False)
class Filtered:
    """What the rounds left.

    Attributes:
      part: [n] which of `PARTS` each row is in.
      alive: [n] which rows passed every filter.
      first: the test on select before any round.
      rounds: those that were made.
      reason: why there was no further one.
    """

    part: Int[np.ndarray, " n"]
    alive: Bool[np.ndarray, " n"]
    first: Verdict
    rounds: tuple[Round, ...]
    reason: str

    @property
    def listed(self) -> Bool[np.ndarray, " n"]:
        """[n] rows of the final lists: without fit, once a classifier was applied."""
        if not self.rounds:
            return self.alive
        return self.alive & (self.part != PARTS.index("fit"))

    @property
    def tested(self) -> Bool[np.ndarray, " n"]:
        """[n] rows on which the result is reported."""
        return self.alive & (self.part == PARTS.index("test"))


def cut(
    member: Bool[np.ndarray, " n"], shares: tuple[float, float, float], seed: int
) -> Int[np.ndarray, " n"]:
    """The part of each row; every part has its share of either class."""
    part = np.empty(len(member), np.int64)
    random = np.random.RandomState((seed, 0))
    for group in (member, ~member):
        rows = random.permutation(np.flatnonzero(group))
        ends = np.round(np.cumsum(shares) * len(rows)).astype(np.int64)
        for number, piece in enumerate(np.split(rows, ends[:-1])):
            part[piece] = number
    return part


def filtered(
    features: Float[np.ndarray, "n k"],
    member: Bool[np.ndarray, " n"],
    classifiers: Sequence[tuple[str, Classifier]],
    judge: Judge,
    how: How,
) -> Filtered:
    """Filter two pools until a test on select finds no difference, or rounds are over.

    Args:
      features: by which classifiers tell the classes apart.
      member: the pool of each row.
      classifiers: name and classifier of each round, in order.
      judge: tests the members against the non-members of some rows.
      how: the settings.

    Raises:
      UserError: a pool too small to be cut, or a feature that is not finite.
    """
    from threadpoolctl import threadpool_limits

    finite("features", features)
    part = cut(member, how.shares, how.seed)
    fit, select, test = (part == number for number in range(3))
    needed = {"fit": 2 * how.folds, "select": how.least, "test": how.least}
    for name, rows in zip(PARTS, (fit, select, test), strict=True):
        _require_enough(name, rows, member, needed[name])
    alive, made = np.ones(len(member), bool), []
    state = first = judge(select)
    reason = "the test on select finds no difference"
    # Bits depend on how a product is cut among threads.
    with threadpool_limits(1):
        for number, (name, classifier) in enumerate(classifiers, 1):
            if not _due(state, bool(made), how.until):
                break
            seed = _seed(how.seed, number)
            rows = np.flatnonzero(alive & fit)
            if _smaller(member[rows]) < 2 * how.folds:
                reason = f"too few images are left in fit for round {number}"
                break
            p, auc = _probability(classifier, features, member, rows, how, seed)
            left = alive & _kept(how.keep, p, member, rows, seed)
            if any(_smaller(member[left & x]) < how.least for x in (select, test)):
                reason = f"round {number} would leave fewer than {how.least} images"
                break
            alive = left
            state = judge(select & alive)
            counts = (int(np.sum(alive & member)), int(np.sum(alive & ~member)))
            made.append(Round(name, auc, *counts, state))
        else:
            if _due(state, bool(made), how.until):
                reason = "the rounds are used up"
    return Filtered(part, alive, first, tuple(made), reason)


def _due(state: Verdict, begun: bool, until: float) -> bool:
    """Whether another round is."""
    return state.apart or (begun and state.p_value < until)


def _smaller(member: Bool[np.ndarray, " n"]) -> int:
    return int(min(np.sum(member), np.sum(~member)))


def _require_enough(
    name: str, rows: np.ndarray, member: np.ndarray, least: int
) -> None:
    count = _smaller(member[rows])
    problem = f"has {count} images of a class in part {name!r}, not {least}"
    remedy = "give larger pools, or lower rounds.least or rounds.folds"
    require(count >= least, "rounds", problem, remedy)


def _seed(seed: int, number: int) -> int:
    """Of one round, so that it depends on no other."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0])


def _probability(
    classifier: Classifier,
    features: Float[np.ndarray, "n k"],
    member: Bool[np.ndarray, " n"],
    rows: Int[np.ndarray, " r"],
    how: How,
    seed: int,
) -> tuple[Float[np.ndarray, " n"], float]:
    """Of being a member, for every row by classifiers that did not see it; their AUC.

    Args:
      classifier: to be trained.
      features, member: of all rows.
      rows: of fit, those left so far.
      how: the settings.
      seed: of this round.

    Returns:
      [n] probabilities as if the classes were equally many, and the mean AUC on the
      folds that were held out.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import roc_auc_score

    random = np.random.RandomState(seed)
    size = min(_smaller(member[rows]), how.most)
    fold = np.full(len(member), -1)
    for group in (member[rows], ~member[rows]):
        # Equally many of each class: a half is then the odds of the two densities.
        drawn = random.permutation(rows[group])[:size]
        fold[drawn] = np.arange(size) % how.folds
    total, own, aucs = np.zeros(len(member)), np.zeros(len(member)), []
    for number in range(how.folds):
        seen = np.flatnonzero((fold >= 0) & (fold != number))
        x, y = features[seen], member[seen].astype(np.int64)
        centre, spread = x.mean(axis=0), x.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        estimator = classifier.estimator((seed + number) % 2**32)
        with warnings.catch_warnings():
            # An epoch limit that is reached is a setting, not an accident.
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
            estimator.fit((x - centre) / spread, y)
        p = _of_members(estimator.predict_proba((features - centre) / spread))
        total += p
        held = fold == number
        own[held] = p[held]
        aucs.append(float(roc_auc_score(member[held], p[held])))
    return np.where(fold >= 0, own, total / how.folds), float(np.mean(aucs))


def _of_members(answer: Any) -> Float[np.ndarray, " n"]:
    """The second column of what a classifier answers, required to be probabilities."""
    p = np.asarray(answer, np.float64)
    good = p.ndim == 2 and p.shape[1] == 2 and bool(np.all((p >= 0) & (p <= 1)))
    if not good:
        raise UserError(
            "rounds: a classifier's predict_proba gives no probabilities of two "
            "classes; mend it, or lower its learning rate"
        )
    return p[:, 1]


def _kept(
    keep: str,
    p: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    rows: Int[np.ndarray, " r"],
    seed: int,
) -> Bool[np.ndarray, " n"]:
    """Which rows one filter lets pass.

    Args:
      keep: one of `KEEP`.
      p: of being a member.
      member: the pool of each row.
      rows: of fit, those left so far.
      seed: of the thinning.
    """
    if keep == "misclassified":
        return ~member | (p < 0.5)
    coins = np.random.RandomState(seed).random_sample(len(p))
    if keep == "overlap":
        other = np.where(member, 1 - p, p)
        return coins * (1 - other) < other
    odds = (1 - p) / np.maximum(p, 1e-12)
    most = np.quantile(odds[rows][~member[rows]], _BULK)
    return ~member | (coins * most < odds)
