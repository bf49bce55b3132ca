"""What differentially private training guarantees, as results tell it."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Profile:
    """Guarantees of one mechanism: delta at each epsilon."""

    epsilon: tuple[float, ...]
    delta: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Privacy:
    """How training was made private, and what that guarantees.

    Attributes:
      control: "clip_only" or "noise_only" for a control without guarantee, else "".
      epsilon_pld, epsilon_rdp: accounted, at `delta`; None where there is none.
      adjacency: how two neighbouring training sets differ.
      profile: the guarantee at many epsilons.
    """

    control: str
    epsilon_pld: float | None
    epsilon_rdp: float | None
    delta: float
    adjacency: str
    noise_multiplier: float
    clip: float
    rate: float = 0.0
    rows: int = 0
    capacity: int = 0
    expected_batch: float = 0.0
    steps: int = 0
    draws: int = 1
    profile: Profile = Profile((), ())
