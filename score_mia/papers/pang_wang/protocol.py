"""How Pang & Wang 2023 (2312.08207) count, where we count otherwise.

scheme=dict(name="score_mia.papers.pang_wang:Overlapping")
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool

from score_mia.rules.scheme import HeldOut, Known


@dataclasses.dataclass(frozen=True)
class Overlapping(HeldOut):
    """Judged by the members that the attacker knew as well, as published.

    In Attacks I and II half of the images that the shadow model was trained on are
    members of the target. The rule has learned to call these very images members; left
    among those that are reported they lift every number. `HeldOut` leaves them out:
    put the two side by side.
    """

    def judged(self, known: Known) -> Bool[np.ndarray, " n"]:
        """The mask [N]: all but the known non-members."""
        return known.member | ~known.reference
