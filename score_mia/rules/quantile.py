"""How high a column is for an image of its kind: quantile regression (Tang et al. 2024,
2312.05140; Bertran et al. 2023, 2307.03694), which needs no shadow model.

Some images have a low loss because they are easy. A regressor learns on images that are
known to be no members which quantile of the column an image's own looks predict; what
exceeds that is a sign of membership at a false-positive rate that is the same for easy
images and for hard ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from score_mia.check import at_least, finite, positive, require, within
from score_mia.files import digest
from score_mia.readings import Evidence
from score_mia.rules.beside import columns_of
from score_mia.rules.known import steady
from score_mia.rules.protocol import Knowledge


@dataclasses.dataclass(frozen=True)
class Predicted:
    """A scorer: how far a column is above its predicted quantile, in predicted spreads.

    Attributes:
      rule: whose fit it is.
      columns: the column, then the covariates.
      about, fitted_on: see `rules.protocol.Scorer`.
      shown: digest of all that the fit was shown.
      floor: the least spread.
      models: pairs of regressors, of the median and of the quantile.
    """

    rule: Any
    columns: tuple[str, ...]
    about: str
    fitted_on: int
    shown: str
    floor: float
    models: tuple[tuple[Any, Any], ...] = dataclasses.field(compare=False, repr=False)

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [n], one block of rows at a time."""
        scores = [np.zeros(0)]
        for block in rows.target.blocks(self.columns):
            if len(block):
                values = block.astype(np.float64)
                middle, high = predicted(self.models, values[:, 1:])
                spread = np.maximum(high - middle, self.floor)
                scores.append(steady((values[:, 0] - high) / spread))
        return np.concatenate(scores)


@dataclasses.dataclass(frozen=True)
class Quantile:
    """The column less its predicted quantile, by the predicted spread.

        (v - q(x)) / max(q(x) - m(x), floor)

    with q the `level` quantile and m the median given the covariates x, each the mean
    of a bag of gradient-boosted trees fitted to bootstraps of the known non-members;
    above 0 a non-member is with probability 1 - level, or somewhat more often where few
    taught it: the report's threshold is set by images that did not. The floor is a
    tenth of the median spread. (Tang et al. let the bag vote and take networks that see
    the image; trees on plain facts of it need a hundred images, not thousands.)

    Attributes:
      column: the name of the signal's column; None where one signal has one.
      covariates: columns that say what an image is like, such as those of the signal
        `covariates`; None for all of the attack's other signals, or, where it has one
        signal, all its other columns.
      level: of the quantile.
      bag: pairs of regressors, each fitted to a bootstrap; a single one sees all.
      trees: of each regressor.
      rate: by which each tree is shrunk; of what the covariates explain, a share
        (1 - rate)^trees is left unlearned.
      leaf: least images in a leaf.
      seed: of the bootstraps.
    """

    column: str | None = None
    covariates: tuple[str, ...] | None = None
    level: float = 0.95
    bag: int = 10
    trees: int = 50
    rate: float = 0.2
    leaf: int = 10
    seed: int = 0

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("population", "split"))

    def __post_init__(self) -> None:
        within("level", self.level, 0.5 + 1e-9, 1 - 1e-9)
        at_least("bag", self.bag, 1)
        at_least("trees", self.trees, 1)
        at_least("leaf", self.leaf, 1)
        positive("rate", self.rate)
        if self.covariates is not None:
            remedy = "name one, or leave it out"
            require(len(self.covariates) > 0, "covariates=()", "is empty", remedy)

    def quick(self) -> Quantile:
        """A tree or two."""
        return dataclasses.replace(self, bag=1, trees=min(self.trees, 2))

    def fit(self, known: Evidence) -> Predicted:
        """Learn the quantiles on known non-members; members are not looked at.

        Raises:
          UserError: fewer non-members than two leaves hold, a value that is not finite,
            or columns that are not there.
        """
        columns = self._columns(known)
        rows = known.target
        if rows.member is not None:
            rows = rows.select(~rows.member)
        problem = f"is shown {len(rows)} non-members, which make no two leaves"
        remedy = f"it needs {2 * self.leaf}: raise split.reference, or lower leaf"
        require(len(rows) >= 2 * self.leaf, "rule 'quantile'", problem, remedy)
        values = rows.matrix(columns).astype(np.float64)
        finite("reference signals", values)
        models = self._fitted(values)
        middle, high = predicted(models, values[:, 1:])
        spreads = np.maximum(high - middle, 0.0)
        floor = max(0.1 * float(np.median(spreads)), 1e-6 * float(values[:, 0].std()))
        about = (
            f"{columns[0]} above its {100 * self.level:g} % quantile given "
            f"{len(columns) - 1} covariates, learned on {len(rows)} non-members"
        )
        told = digest(*columns, values, rows.ids)
        floor = max(floor, 1e-30)
        return Predicted(self, columns, about, len(rows), told, floor, models)

    def _columns(self, known: Evidence) -> tuple[str, ...]:
        """The column, then the covariates by name."""
        names, rule = known.target.names, "rule 'quantile'"
        own = names[:1]
        if self.column is None:
            own = tuple(n for n in names if _signal(n) == _signal(names[0]))
            problem = "is not told which column to judge by"
            alone = len(own) == 1 < len(names)
            require(alone, rule, problem, "give column=...")
        (column,) = columns_of(known, "quantile", (self.column or own[0],))
        if self.covariates is not None:
            return (column, *columns_of(known, "quantile", self.covariates))
        rest = [name for name in names if name != column]
        others = [name for name in rest if _signal(name) != _signal(column)]
        problem, remedy = "has no covariates", "add the signal 'covariates' to it"
        require(len(rest) > 0, f"{rule}: the attack", problem, remedy)
        return (column, *sorted(others or rest))

    def _fitted(self, values: Float[np.ndarray, "n k"]) -> tuple[tuple[Any, Any], ...]:
        """Pairs of regressors, each of a bootstrap."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from threadpoolctl import threadpool_limits

        rng, count, pairs = np.random.default_rng(self.seed), len(values), []
        # Such trees are small: threads that wait for each other would only slow them.
        with threadpool_limits(1):
            for _ in range(self.bag):
                some = rng.integers(count, size=count) if self.bag > 1 else slice(None)
                x, y = values[some, 1:], values[some, 0]
                pair = (
                    HistGradientBoostingRegressor(
                        loss="quantile",
                        quantile=level,
                        max_iter=self.trees,
                        learning_rate=self.rate,
                        max_leaf_nodes=8,
                        min_samples_leaf=self.leaf,
                        early_stopping=False,
                        random_state=self.seed,
                    ).fit(x, y)
                    for level in (0.5, self.level)
                )
                pairs.append(tuple(pair))
        return tuple(pairs)


def _signal(column: str) -> str:
    """The signal whose column it is, where an attack has several; else nothing."""
    signal, cut, _ = column.partition("/")
    return signal if cut else ""


def predicted(
    models: tuple[tuple[Any, Any], ...], covariates: Float[np.ndarray, "n k"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Median and quantile [n] by a bag of regressors: the means of what they say."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        each = [[m.predict(covariates) for m in pair] for pair in models]
    middle, high = np.mean(each, axis=0)
    return middle, high
