"""What a source of targets is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from score_mia.spec import Spec


class Order(NamedTuple):
    """What is asked of a source.

    Attributes:
      spec: what the target is, with the shape of its images.
      images: gives the members, float32 [n, h, w, c] in [0, 1].
      conditions: gives what the network is told of them, or None.
      members: how many there are.
      provenance: JSON values that are kept with the target.
    """

    spec: Spec
    images: Callable[[], np.ndarray]
    conditions: Callable[[], Any]
    members: int
    provenance: Mapping[str, Any]


@runtime_checkable
class Described(Protocol):
    """A source whose files say what the model is, so that a config need not."""

    def sections(self) -> Mapping[str, Any]:
        """Sections of a config, above all network, sde, parameterisation and codec.

        Raises:
          UserError: the files are missing, damaged, or of a kind that is not read.
        """
        ...


@runtime_checkable
class Model(Protocol):
    """Where a target comes from: a frozen dataclass of plain fields."""

    def make(self, folder: Path, order: Order) -> int:
        """Bring the target into its folder, or go on with that; done, it does nothing.

        Returns:
          The training steps that were made of it.

        Raises:
          UserError: the folder holds another target, or this one cannot be made.
        """
        ...
