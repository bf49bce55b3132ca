"""What a conditional model is told of an image, made from what its source knows.

A condition is a pytree of integer arrays: class labels, token ids. What becomes of them
(an embedding, a text encoder) is part of the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from score_mia.check import UserError, at_least, require, within

OWN, NULL = "own", "null"
"""Names of an image's own condition, and of the one that says nothing."""

Conditions = dict[str, Any]
"""From a condition's name to its pytree of arrays [n, ...]; {} where none is told."""

Columns = Callable[[np.ndarray, Collection[str]], Mapping[str, np.ndarray]]
"""`Source.columns`."""


@runtime_checkable
class Conditioner(Protocol):
    """A frozen dataclass that turns the columns of images into a condition.

    Attributes:
      columns: names of the columns it reads; "file" is none of them.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """What it reads of a source, such as ("label",)."""
        ...

    def __call__(self, columns: Mapping[str, np.ndarray]) -> Any:
        """A pytree of integer arrays [n, ...] from columns of n images each.

        Raises:
          UserError: a column that the source does not have, or values that the network
            does not know.
        """
        ...

    def null(self) -> Any:
        """One row that says nothing, for guidance; None if the model knows none."""
        ...


@dataclasses.dataclass(frozen=True)
class Label:
    """The class label.

    Attributes:
      classes: how many the network is told of; the config's `network.classes`.
      nothing: the class that stands for no class, if the network was trained with one.
    """

    classes: int
    nothing: int | None = None
    columns: ClassVar[tuple[str, ...]] = ("label",)

    def __post_init__(self) -> None:
        at_least("classes", self.classes, 1)
        if self.nothing is not None:
            within("nothing", self.nothing, 0, self.classes - 1)

    def __call__(self, columns: Mapping[str, np.ndarray]) -> Int[np.ndarray, " n"]:
        """The labels as they are, each below `classes`, int64."""
        if "label" not in columns:
            raise UserError(
                f"network.classes={self.classes}: the data set has no class labels; "
                "set it to 0, or give data with labels"
            )
        labels = columns["label"]
        low, high = int(labels.min()), int(labels.max())
        ok = low >= 0 and high < self.classes
        problem = f"do not hold the data set's labels, which run from {low} to {high}"
        remedy = f"set it to {high + 1} or more" if low >= 0 else "count labels from 0"
        require(ok, f"network.classes={self.classes}", problem, remedy)
        return labels

    def null(self) -> np.int32 | None:
        """The class `nothing`."""
        return None if self.nothing is None else np.int32(self.nothing)


CONDITIONERS = {"label": Label}


def gather(
    conditioner: Conditioner | None, columns: Columns, ids: Int[np.ndarray, " n"]
) -> Conditions:
    """The named conditions of images, each a pytree of arrays [n, ...].

    Args:
      conditioner: of the model; None for one that is told nothing.
      columns: of the images' source.
      ids: of the images.

    Returns:
      {} without a conditioner, else "own", and "null" where the model knows one.
    """
    if conditioner is None:
        return {}
    conditions = {OWN: conditioner(columns(ids, conditioner.columns))}
    nothing = conditioner.null()
    if nothing is not None:
        conditions[NULL] = jax.tree.map(
            lambda leaf: np.repeat(np.asarray(leaf)[None], len(ids), axis=0), nothing
        )
    return conditions
