"""What a rule that learns from both classes is shown: labelled rows of some model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from score_mia.check import finite, require
from score_mia.files import digest
from score_mia.readings import Evidence

Margin = Callable[[np.ndarray], np.ndarray]
"""From standardised columns [n, K] to how much like a member each row looks, [n]."""


class Shown(NamedTuple):
    """Labelled rows, of the target or of shadow models.

    Attributes:
      names: of the columns, sorted, so that no fit hangs on their order.
      values: [n, K] in float64.
      member: [n] True for images of the training set of the model that was read.
      ids: [n]; an image stands here once for each model that was asked about it.
      models: how many were.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "n k"]
    member: Bool[np.ndarray, " n"]
    ids: Int[np.ndarray, " n"]
    models: int


def shown(known: Evidence, rule: str, least: int = 2) -> Shown:
    """The target's labelled rows where there are any, else those of all shadows.

    Args:
      known: what a fit is handed.
      rule: whose it is, for the message.
      least: how many of either class it needs.

    Raises:
      UserError: too few of a class, no column, or a value that is not finite.
    """
    names = tuple(sorted(known.target.names))
    require(
        len(names) > 0, f"rule {rule!r}", "the signal has no columns", "give it one"
    )
    parts = (known.target,) if len(known.target) else known.others
    labels = [np.zeros(len(p), bool) if p.member is None else p.member for p in parts]
    member = np.concatenate([np.zeros(0, bool), *labels])
    counts = (int(member.sum()), int((~member).sum()))
    require(
        min(counts) >= least,
        f"rule {rule!r}",
        f"is shown {counts[0]} members and {counts[1]} non-members",
        f"it needs {least} of either: raise split.reference, or add shadows",
    )
    values = np.concatenate([p.matrix(names) for p in parts]).astype(np.float64)
    finite("reference signals", values)
    ids = np.concatenate([p.ids for p in parts])
    return Shown(names, values, member, ids, len(parts))


class Standard(NamedTuple):
    """What puts columns on one scale: less the mean of the rows shown, by their spread.

    Attributes:
      mean, scale: [K]; the scale of a column that does not vary is infinite, so that
        it comes to 0 everywhere.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @staticmethod
    def of(values: Float[np.ndarray, "n k"]) -> Standard:
        """Of the rows that a fit is shown, and of no others."""
        spread = values.std(axis=0)
        vary = spread > 1e-7 * np.abs(values).max(axis=0, initial=0.0)
        scale = np.where(vary, spread, np.inf)
        return Standard(tuple(values.mean(axis=0).tolist()), tuple(scale.tolist()))

    def __call__(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Each row by itself."""
        return (np.asarray(values, np.float64) - self.mean) / self.scale


def steady(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores without the bits in which a row's neighbours may be seen.

    A matrix product of float64 may round a row by the size of the block it is in; that
    is far below the precision of float32, in which the readings are.
    """
    return np.asarray(scores, np.float32).astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What a fit on standardised columns came to.

    Two are equal if one rule was fitted on the same rows, whatever it made of them.

    Attributes:
      rule: whose fit it is.
      columns, about, fitted_on: see `rules.protocol.Scorer`.
      standard: how the columns are scaled.
      shown: digest of all that the fit was shown.
      margin: what was learned.
    """

    rule: Any
    columns: tuple[str, ...]
    about: str
    fitted_on: int
    standard: Standard
    shown: str
    margin: Margin = dataclasses.field(compare=False, repr=False)

    @staticmethod
    def on(
        rows: Shown, standard: Standard, rule: Any, about: str, margin: Margin
    ) -> Fitted:
        """The scorer of a fit on these rows; `about` says what it is."""
        told = digest(*rows.names, rows.values, rows.member, rows.ids)
        about = f"{about}, fitted on {len(rows.member)} images"
        return Fitted(rule, rows.names, about, len(rows.member), standard, told, margin)

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [N], one block of rows at a time."""
        scores = [np.zeros(0)]
        for block in rows.target.blocks(self.columns):
            if len(block):
                scores.append(steady(self.margin(self.standard(block))))
        return np.concatenate(scores)
