"""What an attack is: a `Signal` read off the target, and a rule that turns it into one
membership score.

A signal is a frozen (hashable) dataclass called on one image; the engine vmaps, shards
and resumes. See docs/extend.md for a whole one in forty lines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float

from score_mia.arrays import Image, Key
from score_mia.rules.protocol import Rule
from score_mia.sde import SDE
from score_mia.target import Target

Access = Literal["samples", "scores", "gradients"]
"""What an attack may use: samples (black box) < network outputs < parameters."""

Reference = Literal["none", "population", "split"]
"""What a rule's `fit` sees: nothing, known non-members, or known members as well."""


@runtime_checkable
class Signal(Protocol):
    """K numbers about one image, **higher = more member-like**, then D diagnostics.

    A signal may also have any of these: `title`, how a report calls it; `at(sde)`, the
    K times [K] at which its columns were measured, which lets a report draw it against
    time; `forwards(sde)`, what one image costs in forward passes, for `--dry_run`.

    Attributes:
      access: the least access that suffices.
      diagnostics: names of D further numbers that are recorded, never scored. One
        called "network_evaluations" becomes the attack's cost.
    """

    access: ClassVar[Access]
    diagnostics: ClassVar[tuple[str, ...]]

    def names(self, sde: SDE) -> tuple[str, ...]:
        """The K column names, e.g. "loss@200"; they may depend on the process."""
        ...

    def __call__(
        self, target: Target, image: Image, key: Key, condition: Any = None
    ) -> Float[Array, " k_plus_d"]:
        """The K values and the D diagnostics of one image in [0, 1].

        Must depend on its arguments only (the row law): the engine derives `key` from
        the audit's seed and the image's id.
        """
        ...


@runtime_checkable
class Counted(Protocol):
    """A signal whose paper counts its own way; metrics.json tells that beside ours."""

    def counted(
        self, scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
    ) -> Mapping[str, Any]:
        """Their numbers, as JSON values, from the membership scores of an audit.

        Args:
          scores: larger = more member-like.
          member: True for members.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Attack:
    """A named signal, the rule that scores it, and what that rule may be fitted on."""

    name: str
    signal: Signal
    rule: Rule
    reference: Reference = "none"
