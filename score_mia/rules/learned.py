"""Classifiers of scikit-learn as rules, on standardised columns.

Pang & Wang (2312.08207), Dubinski et al. (2306.12983) and Cilloni et al. (2311.09355)
let a classifier weigh what they measure. Each is one class here: its settings are its
fields, and where several values are given the best is chosen within the fit, by
cross-validation over the images that the fit is shown.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import scipy.special
from jaxtyping import Float

from score_mia.check import at_least, positive, require
from score_mia.readings import Evidence
from score_mia.rules.known import Fitted, Shown, Standard, shown
from score_mia.rules.protocol import Knowledge

Grid = Mapping[str, tuple[Any, ...]]
"""Setting of an estimator -> the values that are tried."""


@dataclasses.dataclass(frozen=True)
class Learned(abc.ABC):
    """A classifier that is fitted on known members and non-members.

    They are the target's reference images ("split"), or the images of shadow models
    ("shadows"). Columns are standardised by the images that the fit is shown.

    Attributes:
      seed: of what the classifier draws, and of the folds of the choice.
    """

    seed: int = 0

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("split", "shadows"))
    title: ClassVar[str]

    @abc.abstractmethod
    def estimator(self) -> Any:
        """The classifier of scikit-learn, with what is not chosen."""

    def grid(self) -> Grid:
        """What is chosen by cross-validation; one value each is no choice."""
        return {}

    def quick(self) -> Learned:
        """Without a choice."""
        firsts = {n: v[:1] for n, v in vars(self).items() if isinstance(v, tuple)}
        return dataclasses.replace(self, **firsts)

    def margin(self, model: Any, values: np.ndarray) -> Float[np.ndarray, " n"]:
        """How much like a member each row of standardised columns looks to a fit."""
        return model.decision_function(values)

    def fit(self, known: Evidence) -> Fitted:
        """Learn to tell the known members from the known non-members.

        Raises:
          UserError: too few images of a class, or a value that is not finite.
        """
        rows = shown(known, type(self).__name__.lower())
        standard = Standard.of(rows.values)
        with _until_the_last_epoch():
            model, chosen = self._chosen(rows, standard(rows.values))
        about = f"{self.title} of {len(rows.names)} columns{chosen}"
        margin = functools.partial(self.margin, model)
        made = Fitted.on(rows, standard, self, about, margin)
        if len(known.target):
            return made
        return dataclasses.replace(made, about=f"{made.about} of {rows.models} shadows")

    def _chosen(self, rows: Shown, values: np.ndarray) -> tuple[Any, str]:
        """The fitted estimator, and what was chosen, in words."""
        from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold

        model, grid = self.estimator(), {k: list(v) for k, v in self.grid().items()}
        model.set_params(**{k: v[0] for k, v in grid.items()})
        if all(len(v) == 1 for v in grid.values()):
            return model.fit(values, rows.member), ""
        groups = [len(np.unique(rows.ids[rows.member == m])) for m in (True, False)]
        folds = min(5, *groups)
        # An image that several shadows were asked about is in one fold.
        cut = StratifiedGroupKFold(folds, shuffle=True, random_state=self.seed)
        search = GridSearchCV(model, grid, scoring="roc_auc", cv=cut)
        search.fit(values, rows.member, groups=rows.ids)
        best = ", ".join(f"{k}={v!r}" for k, v in search.best_params_.items())
        tried = int(np.prod([len(v) for v in grid.values()]))
        return search.best_estimator_, f" ({best} of {tried} in {folds} folds)"


@dataclasses.dataclass(frozen=True)
class Logistic(Learned):
    """Logistic regression: the honest one where few images are known.

    Attributes:
      strengths: inverse weights of the ridge penalty (scikit-learn's C). Dubinski et
        al. choose from 0.01 to 100.
    """

    strengths: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)

    title: ClassVar[str] = "logistic regression"

    def __post_init__(self) -> None:
        _positive("strengths", self.strengths)

    def estimator(self) -> Any:
        """Fitted to the end: its scores are to be the same everywhere.

        By Newton's method: columns that say nearly the same (losses at neighbouring
        times) take L-BFGS a hundred times as long to that tolerance.
        """
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(solver="newton-cholesky", tol=1e-8, max_iter=5000)

    def grid(self) -> Grid:
        """The penalty."""
        return {"C": self.strengths}


@dataclasses.dataclass(frozen=True)
class Ridge(Learned):
    """Ridge regression on the label: as linear as `logistic`, and far faster.

    For hundreds of columns of several signals: one decomposition serves every penalty,
    and leaving each image out in turn costs nothing (Golub, Heath & Wahba 1979), where
    a logistic rule is fitted 26 times, and in a cross-fit 26 times 255. Where several
    shadows were asked about an image, only one of its rows is left out at a time.

    Attributes:
      penalties: of the weights of standardised columns, in images; the one that
        predicts best what was left out is taken.
    """

    penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1e3, 1e4)

    title: ClassVar[str] = "ridge regression"

    def __post_init__(self) -> None:
        _positive("penalties", self.penalties)

    def estimator(self) -> Any:
        """It chooses its penalty itself."""
        from sklearn.linear_model import RidgeClassifierCV

        return RidgeClassifierCV(self.penalties)


@dataclasses.dataclass(frozen=True)
class Discriminant(Learned):
    """Fisher's linear discriminant, with a covariance shrunk by Ledoit and Wolf (2004).

    In closed form: nothing is chosen, so that a cross-fit costs no more than its folds,
    and columns that say nearly the same (one image at several levels) are weighed by
    what they say together.
    """

    title: ClassVar[str] = "linear discriminant"

    def estimator(self) -> Any:
        """With equal odds before anything is seen, which moves no rank."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        return LinearDiscriminantAnalysis(
            solver="lsqr", shrinkage="auto", priors=[0.5, 0.5]
        )


@dataclasses.dataclass(frozen=True)
class Svm(Learned):
    """A support vector machine with Gaussian kernels as wide as the columns are many.

    Attributes:
      strengths: inverse weights of the penalty (scikit-learn's C).
    """

    strengths: tuple[float, ...] = (1.0,)

    title: ClassVar[str] = "support vector machine"

    def __post_init__(self) -> None:
        _positive("strengths", self.strengths)

    def estimator(self) -> Any:
        """With scikit-learn's width."""
        from sklearn.svm import SVC

        return SVC()

    def grid(self) -> Grid:
        """The penalty."""
        return {"C": self.strengths}


class _Voting(Learned):
    """A classifier that tells a share."""

    def margin(self, model: Any, values: np.ndarray) -> Float[np.ndarray, " n"]:
        """The share that says member."""
        return model.predict_proba(values)[:, 1]


@dataclasses.dataclass(frozen=True)
class Tree(_Voting):
    """A decision tree.

    Attributes:
      depths: largest depths; Dubinski et al. choose from 2, 8 and 16.
      splits: least images of a node that is split; theirs are the same.
    """

    depths: tuple[int, ...] = (2, 8, 16)
    splits: tuple[int, ...] = (2, 8, 16)

    title: ClassVar[str] = "decision tree"

    def __post_init__(self) -> None:
        _positive("depths", self.depths)
        for split in self.splits:
            at_least("splits", split, 2)

    def estimator(self) -> Any:
        """Which of equal splits it takes is the seed's."""
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(random_state=self.seed)

    def grid(self) -> Grid:
        """Depth and least split."""
        return {"max_depth": self.depths, "min_samples_split": self.splits}


@dataclasses.dataclass(frozen=True)
class Forest(_Voting):
    """A random forest.

    Attributes:
      trees: how many; Dubinski et al. choose from 10, 100 and 1,000.
    """

    trees: tuple[int, ...] = (10, 100, 1000)

    title: ClassVar[str] = "random forest"

    def __post_init__(self) -> None:
        _positive("trees", self.trees)

    def estimator(self) -> Any:
        """Trees of any depth."""
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(random_state=self.seed)

    def grid(self) -> Grid:
        """How many."""
        return {"n_estimators": self.trees}


@dataclasses.dataclass(frozen=True)
class Boosting(Learned):
    """Boosted trees, each fitted to what those before it left.

    Pang et al. (2308.06405) let 200 of them weigh gradient norms.

    Attributes:
      trees: how many.
      rate: weight of each.
      depths: largest depths.
      least: fewest images of a leaf; none is split of fewer than twice as many.
    """

    trees: int = 200
    rate: float = 0.1
    depths: tuple[int, ...] = (6,)
    least: int = 20

    title: ClassVar[str] = "boosted trees"

    def __post_init__(self) -> None:
        at_least("trees", self.trees, 1)
        positive("rate", self.rate)
        _positive("depths", self.depths)
        at_least("least", self.least, 1)

    def quick(self) -> Boosting:
        """A few trees."""
        first = super().quick()
        assert isinstance(first, Boosting)
        return dataclasses.replace(first, trees=min(self.trees, 5))

    def estimator(self) -> Any:
        """To the last tree: none is chosen by images that are kept from the fit."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=self.rate,
            min_samples_leaf=self.least,
            early_stopping=False,
            random_state=self.seed,
        )

    def grid(self) -> Grid:
        """The depth."""
        return {"max_depth": self.depths}


@dataclasses.dataclass(frozen=True)
class Bayes(Learned):
    """Naive Bayes: each column is normal in either class, by itself."""

    title: ClassVar[str] = "naive Bayes"

    def estimator(self) -> Any:
        """With equal odds before anything is seen."""
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB(priors=[0.5, 0.5])

    def margin(self, model: Any, values: np.ndarray) -> Float[np.ndarray, " n"]:
        """Log odds."""
        joint = model.predict_joint_log_proba(values)
        return joint[:, 1] - joint[:, 0]


@dataclasses.dataclass(frozen=True)
class Neighbours(_Voting):
    """The share of members among the nearest images that are known.

    Attributes:
      neighbours: how many are asked.
    """

    neighbours: tuple[int, ...] = (5,)

    title: ClassVar[str] = "nearest neighbours"

    def __post_init__(self) -> None:
        _positive("neighbours", self.neighbours)

    def estimator(self) -> Any:
        """By the Euclidean distance of standardised columns."""
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier()

    def grid(self) -> Grid:
        """How many."""
        return {"n_neighbors": self.neighbours}


@dataclasses.dataclass(frozen=True)
class Perceptron(Learned):
    """A network of one hidden layer, as Dubinski et al. have it.

    Attributes:
      hidden: its rectified units.
      learning_rate: of Adam.
      epochs: at most; the last is taken (no epoch is chosen by what is judged).
    """

    hidden: int = 10
    learning_rate: float = 1e-3
    epochs: int = 1000

    title: ClassVar[str] = "a network of one hidden layer"

    def __post_init__(self) -> None:
        at_least("hidden", self.hidden, 1)
        at_least("epochs", self.epochs, 1)
        positive("learning_rate", self.learning_rate)

    def quick(self) -> Perceptron:
        """A few epochs."""
        return dataclasses.replace(self, epochs=min(self.epochs, 5))

    def estimator(self) -> Any:
        """With scikit-learn's batches and its small penalty."""
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(
            (self.hidden,),
            learning_rate_init=self.learning_rate,
            max_iter=self.epochs,
            n_iter_no_change=self.epochs,
            random_state=self.seed,
        )

    def margin(self, model: Any, values: np.ndarray) -> Float[np.ndarray, " n"]:
        """Log odds, as far as float64 tells them."""
        return scipy.special.logit(np.clip(model.predict_proba(values)[:, 1], *_ODDS))


@contextlib.contextmanager
def _until_the_last_epoch() -> Iterator[None]:
    """Without the advice to train a network longer: its epochs are a setting."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


_ODDS = (1e-15, 1 - 1e-15)


def _positive(name: str, values: tuple[float, ...]) -> None:
    require(
        len(values) > 0, name, "is empty", "give a value, or several to choose from"
    )
    for value in values:
        positive(name, float(value))
