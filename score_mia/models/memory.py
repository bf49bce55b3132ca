"""A target that was handed over in memory (`score_mia.audit`)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from score_mia.check import require
from score_mia.checkpoint import has_arrays, tree_digest
from score_mia.interop import Foreign
from score_mia.models.protocol import Order
from score_mia.models.reading import adopt, origin
from score_mia.target import Target


@dataclasses.dataclass(frozen=True)
class InMemory:
    """A model that is there already; its parameters are kept in the workdir.

    Attributes:
      digest: of its parameters.
      model: itself; None in a config, which goes on with what the workdir holds.
    """

    digest: str
    model: Target | None = None

    @staticmethod
    def of(model: Target) -> InMemory:
        """The source of this model."""
        return InMemory(tree_digest(model.tree), model)

    def make(self, folder: Path, order: Order) -> int:
        """Keep it, unless the folder holds it already."""
        about = {"file": "memory", "format": "Target", "sha256": self.digest}
        if self.model is not None:
            tree = self.model.tree
            given = Foreign(dict(order.spec), tree, tree, 0, about)
            return adopt(folder, order, lambda: given)
        ok = origin(folder) == about and has_arrays(folder)
        problem = f"was handed over in memory, and {folder} does not hold it"
        remedy = "call score_mia.audit with it again"
        require(ok, f"target {self.digest}", problem, remedy)
        return 0
