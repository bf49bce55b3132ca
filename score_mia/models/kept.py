"""A target that another workdir holds: attacked again, elsewhere and otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from score_mia.check import at_least, require
from score_mia.checkpoint import describe, load_target, place
from score_mia.interop import Foreign
from score_mia.models.protocol import Order
from score_mia.models.reading import adopt
from score_mia.spec import FAMILIES, names


@dataclasses.dataclass(frozen=True)
class Kept:
    """The target of another workdir, whose training set the split must give.

    For many attacks on one target that are to be told apart on pages of their own, and
    for its snapshots. What the model is stands in its own description.

    Attributes:
      folder: the workdir, or a target's own folder.
      step: of one of its snapshots; None for the finished target.
    """

    folder: str
    step: int | None = None

    def __post_init__(self) -> None:
        if self.step is not None:
            at_least("target.step", self.step, 1)

    @property
    def place(self) -> Path:
        """The folder with its description."""
        whole = place(self.folder)
        if self.step is None:
            return whole
        inner = whole / "snapshots" / f"step-{self.step:06d}"
        return inner if inner.is_dir() else whole

    def sections(self) -> dict[str, Any]:
        """What its description says of the model."""
        return told(self.place)

    def make(self, folder: Path, order: Order) -> int:
        """Read it, unless the folder holds it already.

        Raises:
          UserError: it is not there, is damaged, of another step, or was trained on
            other images than the split's members.
        """
        about = describe(self.place)
        known, step = about["provenance"], about["provenance"]["step"]
        problem, remedy = f"is of step {step}", "give the step of a snapshot"
        require(self.step in (None, step), f"target {self.place}", problem, remedy)
        same = known.get("members_digest") == order.provenance.get("members_digest")
        problem = "was trained on other images than the split's members"
        remedy = "give the data and the split that it was trained with"
        require(same, f"target {self.place}", problem, remedy)

        def read() -> Foreign:
            tree = load_target(self.place, allow=names(order.spec)).tree
            return Foreign(about["spec"], tree, tree, step, origin)

        digest = about["digest"]["ema"]
        origin = {"file": self.folder, "format": "score_mia", "sha256": digest}
        return adopt(folder, order, read, origin)


def told(folder: Path) -> dict[str, Any]:
    """Sections of a config, as the description of a target has them."""
    spec = describe(folder)["spec"]
    return {name: spec[name] for name in FAMILIES if name in spec}
