"""One column, named beforehand: nothing to fit, nothing to be optimistic about."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from score_mia.check import one_of, require
from score_mia.readings import Evidence
from score_mia.rules.protocol import Knowledge, OneColumn


@dataclasses.dataclass(frozen=True)
class Column:
    """The membership score is one column of the signals. It needs no known images.

    Attributes:
      column: its name, e.g. "loss@200"; None for a signal that has only one.
    """

    column: str | None = None

    accepts: ClassVar[frozenset[Knowledge]] = frozenset(("none", "population", "split"))

    def fit(self, known: Evidence) -> OneColumn:
        """The scorer by that column.

        Raises:
          UserError: there is no such column, or none is named and there are several.
        """
        names = known.target.names
        if self.column is not None:
            one_of("rule.column", self.column, names)
            return OneColumn(self.column, f"{self.column} (fixed beforehand)")
        require(
            len(names) == 1,
            "rule 'column'",
            f"the signal has {len(names)} columns and none is named",
            "give column=..., or choose one on reference data by the rule 'best'",
        )
        return OneColumn(names[0], "the only column")
