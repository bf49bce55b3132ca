"""Targets in the files of other libraries, which say themselves what they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_mia.check import UserError, one_of, require
from score_mia.interop import Foreign, diffusers
from score_mia.interop.lora import Lora
from score_mia.models.protocol import Order
from score_mia.models.reading import adopt, origin
from score_mia.spec import Spec


@dataclasses.dataclass(frozen=True)
class Diffusers:
    """A folder of the diffusers library: a whole pipeline, or one network.

    It says what the model is: its sections `network`, `sde`, `parameterisation`,
    `codec`, `conditioner` and `sampler` stand where a config leaves them out. The
    split's members are taken to be its training set. docs/models.md lists what is read.

    Attributes:
      folder: with model_index.json, or with config.json and the weights.
      lora: file or folder of low-rank adapters that are merged as the weights are read
        (`interop.lora`); None for none.
      lora_scale: what their change is multiplied by.
      variant: which weights of several, such as "fp16".
      dtype: of the weights in memory: "float32" or "bfloat16".
      options: fields of the network that are set otherwise than the folder does, such
        as `dict(compute="bfloat16")`; they change no weight.
      any_size: whether images of another size than the model's own are let through.
    """

    folder: str
    lora: str | None = None
    lora_scale: float = 1.0
    variant: str = ""
    dtype: str = "float32"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    any_size: bool = False

    def __post_init__(self) -> None:
        one_of("target.dtype", self.dtype, ("float32", "bfloat16"))

    def sections(self) -> dict[str, Any]:
        """What the folder says of the model; no weights are read."""
        told = {k: v for k, v in self._told.items() if k != "shape"}
        return {**told, "network": {**told["network"], **self.options}}

    @property
    def _told(self) -> dict[str, Any]:
        return diffusers.describe(self.folder)

    def make(self, folder: Path, order: Order) -> int:
        """Read it, unless the workdir's folder holds it already."""
        kept = origin(folder)
        if kept is not None and not Path(self.folder).exists():
            # The workdir needs the original no more; its name says which it was.
            same = kept["file"] == Path(self.folder).name
            require(same, f"{folder}", "holds another target", "give another --workdir")
            return adopt(folder, order, _gone, kept)
        own, asked = tuple(self._told["shape"]), tuple(order.spec["shape"])
        problem = f"are not of the {own} that {self.folder} draws"
        remedy = "resize the data (data.size), or say target.any_size=True"
        same = self.any_size or own == asked
        require(same, f"images of shape {asked}", problem, remedy)
        return adopt(folder, order, lambda: self.read(order.spec), self.origin)

    @property
    def origin(self) -> dict[str, str]:
        """What tells these weights from others; no number is turned."""
        return diffusers.origin(self.folder, **self._how)

    def read(self, spec: Spec) -> Foreign:
        """The model, taken for what a spec says."""
        return diffusers.read_folder(self.folder, spec, **self._how)

    @property
    def _how(self) -> dict[str, Any]:
        lora = None if self.lora is None else Lora(self.lora, self.lora_scale)
        return {"dtype": self.dtype, "variant": self.variant, "lora": lora}


def _gone() -> Any:
    raise UserError(
        "target: the weights in the workdir are not whole, and the folder that they "
        "were read from is gone; bring it back"
    )
