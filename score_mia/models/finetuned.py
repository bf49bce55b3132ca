"""A target that is fine-tuned here, from a model that is there already."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_mia import distributed
from score_mia.arrays import Params
from score_mia.check import UserError, one_of, require
from score_mia.checkpoint import describe, load_target, place
from score_mia.files import json_digest
from score_mia.models.folder import Diffusers
from score_mia.models.kept import told
from score_mia.models.protocol import Described, Model, Order
from score_mia.models.pytorch_ddpm import PytorchDdpm
from score_mia.models.reading import Called, ScoreSde
from score_mia.models.trained import Trained
from score_mia.registry import make
from score_mia.spec import names, parts
from score_mia.train.adapt import KINDS, Start, adaptation
from score_mia.train.loop import train

BASES = {
    "diffusers": Diffusers,
    "pytorch_ddpm": PytorchDdpm,
    "score_sde": ScoreSde,
    "callable": Called,
}
"""Models that others trained, as `target` names them."""


@dataclasses.dataclass(frozen=True)
class Finetuned(Trained):
    """A model, trained on with the members of the split: Pang & Wang's question.

    The base says what the model is; of its numbers those are trained that `adapt`
    names, by the section `train` (privately, if that says `dp`). What is attacked is
    the whole model with what it has learned, and its snapshots are kept like those of
    a model that is trained from the start. A learned codec stays as it is.

    Attributes:
      base: a workdir or a target's folder of score_mia; or what `target` is given for
        a model that others trained, `dict(name="diffusers", folder=...)` (the name may
        be left out) or another of `BASES`. Such a one is kept in the workdir, too.
      adapt: "full", the whole network but for its text encoder; "attention", the
        projections of every attention; or "lora", low-rank changes of the latter's
        kernels (`train.adapt.LowRank`).
      rank, alpha: of the low-rank change; alpha None for the rank.
      text: whether a text encoder is adapted, too; else it stays as it is.
    """

    base: Mapping[str, Any] | str | None = None
    adapt: str = "full"
    rank: int = 4
    alpha: float | None = None
    text: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("target.adapt", self.adapt, KINDS)
        ok = self.base is not None and self.start is None
        remedy = "name the base, and leave start out"
        require(ok, "target 'finetuned'", "has no base", remedy)
        _ = self._foreign  # a wrong entry is told before anything is read

    @functools.cached_property
    def _foreign(self) -> Model | None:
        if not isinstance(self.base, Mapping):
            return None
        return make("target.base", BASES, {"name": "diffusers", **self.base})

    def sections(self) -> dict[str, Any]:
        """What the base says of the model."""
        if self._foreign is not None:
            base = self._foreign
            return dict(base.sections()) if isinstance(base, Described) else {}
        return told(place(str(self.base)))

    @property
    def begins_with(self) -> str:
        """Digest of the base, or of what names it, and what of it is trained.

        That the files behind a name are still the same is seen to when they are read.
        """
        if isinstance(self.base, Mapping):
            known = json_digest(self.base)
        else:
            known = describe(place(str(self.base)))["digest"]["ema"]
        how = {"lora": f"lora-{self.rank}-{self.alpha or self.rank:g}"}
        text = "-text" if self.text else ""
        return f"{known}-{how.get(self.adapt, self.adapt)}{text}"

    def make(self, folder: Path, order: Order) -> int:
        """Train it, or go on."""
        p = parts(order.spec, allow=names(order.spec))
        how = adaptation(self.adapt, p, self.rank, self.alpha, self.text)
        train(
            order.spec,
            order.images(),
            self.train,
            folder,
            conditions=order.conditions(),
            provenance={**order.provenance, "start": self.begins_with},
            start=Start(
                self._tree(folder, order), None if self.adapt == "full" else how
            ),
        )
        return self.train.steps

    def _tree(self, folder: Path, order: Order) -> Params:
        """The base's numbers."""
        kept = place(str(self.base))
        if self._foreign is not None:
            kept = folder / "base"
            adopt = functools.partial(self._foreign.make, kept, order)
            distributed.in_turn(adopt)
        try:
            return load_target(kept, allow=names(order.spec)).tree
        except UserError as error:
            raise UserError(f"target.base: {error}") from error
