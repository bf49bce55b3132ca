"""The likelihood ratio of two Gaussians: how Pang & Wang's second rule decides."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from score_mia.check import at_least, one_of
from score_mia.readings import Evidence
from score_mia.rules.known import Fitted, Standard, shown
from score_mia.rules.protocol import Knowledge

COVARIANCES = ("shrunk", "full", "diagonal")


@dataclasses.dataclass(frozen=True)
class Law:
    """A Gaussian of K standardised columns.

    Attributes:
      mean: [K].
      white: [K, K], its rows map what is less the mean to independent normals.
      log_scale: log of the determinant of `white`.
    """

    mean: Float[np.ndarray, " k"]
    white: Float[np.ndarray, "k k"]
    log_scale: float

    @staticmethod
    def of(values: Float[np.ndarray, "n k"], covariance: str, ridge: float) -> Law:
        """Fitted to rows [n, K]."""
        from sklearn.covariance import ledoit_wolf

        mean = values.mean(axis=0)
        away = values - mean
        if covariance == "shrunk":
            matrix = ledoit_wolf(away, assume_centered=True)[0]
        elif covariance == "full":
            matrix = away.T @ away / len(values)
        else:
            matrix = np.diag(np.mean(away**2, axis=0))
        variance, basis = np.linalg.eigh(matrix + ridge * np.eye(len(matrix)))
        scale = 1 / np.sqrt(np.maximum(variance, ridge))
        return Law(mean, scale[:, None] * basis.T, float(np.sum(np.log(scale))))

    def log(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Log density of each row, but for what all laws share."""
        z = (values - self.mean) @ self.white.T
        return self.log_scale - 0.5 * np.sum(z**2, axis=1)


@dataclasses.dataclass(frozen=True)
class Gaussians:
    """The membership score is log N(v; members) - log N(v; non-members).

    Pang & Wang 2023 (2312.08207) fit both to the token similarities of a shadow
    model's images. Their code takes the full covariance with 1e-5 on its diagonal,
    which with fewer images than tokens is nearly singular; the shrunk one (Ledoit &
    Wolf 2004) is the default here.

    Attributes:
      covariance: "shrunk", "full" or "diagonal" (no column knows of another).
      ridge: added to the variance of every standardised column.
    """

    covariance: str = "shrunk"
    ridge: float = 1e-5

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("split", "shadows"))

    def __post_init__(self) -> None:
        one_of("covariance", self.covariance, COVARIANCES)
        at_least("ridge", self.ridge, 1e-12)

    def fit(self, known: Evidence) -> Fitted:
        """Learn both laws.

        Raises:
          UserError: fewer than three images of a class, or a value that is not finite.
        """
        rows = shown(known, "gaussians", least=3)
        standard = Standard.of(rows.values)
        values, how = standard(rows.values), (self.covariance, self.ridge)
        inside, outside = (
            Law.of(values[group], *how) for group in (rows.member, ~rows.member)
        )
        about = (
            f"ratio of two Gaussians ({self.covariance}) of {len(rows.names)} columns"
        )

        def ratio(values: np.ndarray) -> np.ndarray:
            return inside.log(values) - outside.log(values)

        return Fitted.on(rows, standard, self, about, ratio)
