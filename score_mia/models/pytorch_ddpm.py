"""Targets that pytorch-ddpm trained, of its checkpoints."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from score_mia.interop.pytorch_ddpm import describe, read_pytorch_ddpm
from score_mia.models.protocol import Order
from score_mia.models.reading import adopt


@dataclasses.dataclass(frozen=True)
class PytorchDdpm:
    """A checkpoint of pytorch-ddpm, whose shapes say which network it is.

    Its sections `network`, `sde`, `parameterisation`, `codec` and `sampler` stand where
    a config leaves them out. The split's members are taken to be its training set.

    Attributes:
      file: the checkpoint.
      size: height and width of the images that it was trained on.
      beta_1, beta_t: the first and the last beta.
    """

    file: str
    size: int = 32
    beta_1: float = 1e-4
    beta_t: float = 0.02

    def sections(self) -> dict[str, Any]:
        """What the file says of the model."""
        ends: Any = {"beta_1": self.beta_1, "beta_t": self.beta_t}
        told = describe(self.file, size=self.size, **ends)
        return {k: v for k, v in told.items() if k != "shape"}

    def make(self, folder: Path, order: Order) -> int:
        """Read it, unless the folder holds it already."""
        return adopt(folder, order, lambda: read_pytorch_ddpm(self.file, order.spec))
