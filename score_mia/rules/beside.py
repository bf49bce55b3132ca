"""What a rule is shown that sets an image beside itself: a column off every shadow.

Shadow models were trained with and without an image, and each was asked about it. So
an image is compared with what models say of it that did not see it, and no longer with
other images, which may be easier or harder by themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from score_mia.check import finite, one_of, require
from score_mia.files import digest
from score_mia.readings import Evidence

Law = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From the places [n] of images and the target's values [n] of one column to scores."""


_CELLS = 2**26
"""Most numbers that are read of the shadows at once."""


class Beside(NamedTuple):
    """One column of the same images off every shadow model.

    Attributes:
      ids: [n] ascending.
      values: [s, n] in float64.
      member: [s, n] True where an image is in a shadow's training set.
    """

    ids: Int[np.ndarray, " n"]
    values: Float[np.ndarray, "s n"]
    member: Bool[np.ndarray, "s n"]

    @staticmethod
    def each(known: Evidence, rule: str, columns: Sequence[str]) -> Iterator[Beside]:
        """One column after the other, off all shadows.

        Raises:
          UserError: there is no shadow, they were asked about different images, or a
            value is not finite.
        """
        others, thing = known.others, f"rule {rule!r}"
        remedy = "say knows='shadows'"
        require(len(others) > 0, thing, "is shown no shadow model", remedy)
        ids = others[0].ids
        same = all(np.array_equal(other.ids, ids) for other in others)
        problem = "has images that not every shadow has read"
        require(same, thing, problem, "read the same images off every model")
        labels = [o.member for o in others if o.member is not None]
        problem = "is shown shadows whose members are not known"
        require(len(labels) == len(others), thing, problem, "label their readings")
        member = np.stack(labels)
        width = max(1, _CELLS // max(1, member.size))
        for start in range(0, len(columns), width):
            names = columns[start : start + width]
            values = np.stack([other.matrix(names) for other in others])
            for k, name in enumerate(names):
                own = values[:, :, k].astype(np.float64)
                finite(f"{name} of the shadows", own)
                yield Beside(ids, own, member)

    @property
    def floor(self) -> float:
        """The least variance of a column: what float32 cannot tell from none."""
        return max((1.2e-7 * float(np.abs(self.values).max(initial=0.0))) ** 2, 1e-30)

    def means(self, has: Bool[np.ndarray, "s n"]) -> Float[np.ndarray, " n"]:
        """[n] over the shadows that are meant; NaN for an image that has none."""
        count = has.sum(axis=0)
        total = np.where(has, self.values, 0.0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def columns_of(
    known: Evidence, rule: str, columns: Sequence[str] | None, several: bool = True
) -> tuple[str, ...]:
    """The columns that a rule reads, sorted; None for all, if it reads several.

    Raises:
      UserError: there is no such column, or one must be named and is not.
    """
    names = known.target.names
    if columns is None:
        problem = f"the signal has {len(names)} columns and none is named"
        only = len(names) == 1 or (several and len(names) > 1)
        require(only, f"rule {rule!r}", problem, "give column=...")
        return tuple(sorted(names))
    for name in columns:
        one_of(f"rule {rule!r}: column", name, names)
    return tuple(sorted(columns))


@dataclasses.dataclass(frozen=True)
class Compared:
    """A scorer that sets each image beside itself; scores of columns are added.

    Two are equal if one rule was fitted on the same rows.

    Attributes:
      name: of the rule, for messages.
      rule: whose fit it is.
      columns, about, fitted_on: see `rules.protocol.Scorer`.
      shown: digest of all that the fit was shown.
      ids: [n] of the images that the shadows were asked about.
      laws: of each column.
    """

    name: str
    rule: Any
    columns: tuple[str, ...]
    about: str
    fitted_on: int
    shown: str
    ids: np.ndarray = dataclasses.field(compare=False, repr=False)
    laws: tuple[Law, ...] = dataclasses.field(compare=False, repr=False)

    @staticmethod
    def on(
        known: Evidence,
        name: str,
        rule: Any,
        columns: Sequence[str],
        about: str,
        law: Callable[[Beside], Law],
    ) -> Compared:
        """The scorer whose law is made of what is beside each column.

        Args:
          known: what a fit is handed.
          name: of the rule.
          rule: the rule.
          columns: that it reads.
          about: what it is, in words.
          law: from what is beside a column to its scores.

        Raises:
          UserError: what `Beside.each` and the law say.
        """
        told, laws = [*columns], []
        for one in Beside.each(known, name, columns):
            told.append(digest(one.values, one.member, one.ids))
            laws.append(law(one))
        first, size = known.others[0], sum(map(len, known.others))
        about = f"{about}, beside {len(known.others)} shadows"
        made = (about, size, digest(*told), first.ids, tuple(laws))
        return Compared(name, rule, tuple(columns), *made)

    def __call__(self, rows: Evidence) -> Float[np.ndarray, " n"]:
        """Scores [n] of the target's rows.

        Raises:
          UserError: the shadows were not asked about some image.
        """
        own = rows.target.ids
        at = np.minimum(np.searchsorted(self.ids, own), max(len(self.ids) - 1, 0))
        absent = int(np.sum(self.ids[at] != own)) if len(self.ids) else len(own)
        require(
            absent == 0,
            f"rule {self.name!r}",
            f"{absent} of {len(own)} images were read off no shadow",
            "set shadows.asked='all'",
        )
        scores, start = [np.zeros(0)], 0
        for block in rows.target.blocks(self.columns):
            here = at[start : start + len(block)]
            start += len(block)
            total = np.zeros(len(block))
            # Column by column: a sum over them may round a row by the rows beside it.
            for k, law in enumerate(self.laws):
                total += law(here, block[:, k].astype(np.float64))
            scores.append(total)
        return np.concatenate(scores)


def require_out(there: Bool[np.ndarray, " n"], rule: str) -> None:
    """Require that each image is out of some shadow."""
    count = int(np.sum(~there))
    problem = f"{count} images are in the training set of every shadow"
    remedy = "train more shadows, or lower shadows.overlap"
    require(count == 0, f"rule {rule!r}", problem, remedy)
