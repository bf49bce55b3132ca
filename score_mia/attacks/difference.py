"""Any signal, less what it says of another model.

What is easy about an image is easy for every model of its kind. Read off the
pre-trained base of a fine-tuned model, or off a reference model that saw other images
of the kind, the same signal with the same noise says how easy; the difference is what
the target's own training did. The simplest of difficulty calibrations (Watson et al.
2022, 2111.08440), and one model's worth of LiRA's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.attacks.nested import (
    Around,
    AroundHost,
    AroundTraced,
    ASignal,
    Values,
    require_signal,
)
from score_mia.attacks.protocol import Access, Columns, HostQuery, HostSignal
from score_mia.check import UserError, existing
from score_mia.checkpoint import fingerprint, load_target, place
from score_mia.target import Target


@dataclasses.dataclass(frozen=True)
class ReadElsewhere:
    """What a signal says of a kept model; see `protocol.Elsewhere`.

    Attributes:
      signal: what is measured.
      folder: a workdir of score_mia, or a target's own folder.
      allow: names of one's own parts that the model's description may name.
    """

    signal: ASignal
    folder: str
    allow: tuple[str, ...] = ()

    @property
    def access(self) -> Access:
        """The model under attack has no part in it."""
        return "none"

    def model(self) -> Target:
        """The other model.

        Raises:
          UserError: it is missing, damaged, or names parts that are not allowed.
        """
        return load_target(self._place, allow=self.allow)

    def fingerprint(self) -> str:
        """Of the other model: what it is, and its parameters.

        Raises:
          UserError: there is none.
        """
        return fingerprint(self._place)

    def batch(self, model: Any, queries: HostQuery) -> Mapping[str, np.ndarray]:
        """Never called: the engine reads the signal off `model()`."""
        raise UserError(f"against {self.folder}: is read by the engine; use collect")

    @property
    def _place(self) -> Path:
        return place(str(existing(self.folder, "against: folder")))


@dataclasses.dataclass(frozen=True)
class _Difference(Around):
    """What `against` says.

    Attributes:
      folder, allow: see there.
    """

    folder: str
    allow: tuple[str, ...] = ()

    @property
    def product(self) -> ReadElsewhere:
        """The readings of the other model."""
        return ReadElsewhere(self.signal, self.folder, self.allow)

    def columns(self, model: Any) -> Columns:
        """Those of the inner signal; a folder without a model is refused here."""
        self.product.fingerprint()
        return super().columns(model)

    def titled(self, title: str) -> str:
        """What it is less."""
        return f"{title}, less that of another model"

    def changed(self, values: Values, row: Mapping[str, Any]) -> Values:
        """The differences."""
        return values - row["values"]


class Against(_Difference, AroundTraced):
    """`against` of a traced signal."""


class AgainstHost(_Difference, AroundHost):
    """`against` of a host signal."""


def against(
    signal: ASignal, folder: str, allow: tuple[str, ...] = ()
) -> Against | AgainstHost:
    """Each column of another signal, less what it is of another model.

    Both models are read with the same noise and are told the same of each image. The
    other one is read once, apart, and its readings are kept, so that both are never in
    memory together; its cost is not counted as the attack's, which is what is asked of
    the model under attack.

    Args:
      signal: whose columns, `dict(name="loss", ...)`; traced or not.
      folder: the other model: a workdir of score_mia, or a target's own folder. It must
        have the same process, the same times and take the same conditions.
      allow: names of one's own parts ("my_package.mine:MyNetwork") that its description
        may name.
    """
    require_signal("against", signal)
    kind = AgainstHost if isinstance(signal, HostSignal) else Against
    return kind(signal, folder, allow)
