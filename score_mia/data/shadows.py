"""Shadow models: how many, and which images each of them is trained on.

Whoever trains a model himself knows its members, and learns from it how readings differ
between members and others (Carlini et al. 2022, LiRA, 2112.03570; Pang & Wang 2023,
Attacks I to IV, 2312.08207).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from score_mia.arrays import hashed
from score_mia.check import at_least, one_of, require, within
from score_mia.data.split import Split

POOLS = ("candidates", "auxiliary")
ASKED = ("all", "known")


@dataclasses.dataclass(frozen=True)
class Shadows:
    """Models that an attacker trains like the target.

    Attributes:
      count: how many.
      pool: "candidates" trains on images of the split, drawn without a look at who is a
        member, so that each is in some shadows and in others not; "auxiliary" on known
        images that are judged nowhere: the reference and the auxiliary ones.
      overlap: of candidates, the share that each shadow is trained on (None: as many
        images as the target has members); of auxiliary images, the share of a shadow's
        members that are known members of the target (None: 0).
      asked: the images whose signals are read off a shadow: "all" of the split and the
        auxiliary ones, or of an "auxiliary" pool only the "known" ones, as Pang & Wang
        do: the reference and auxiliary images, trained on or not. It costs less, and
        a classifier is fitted on no image that it judges.
      base: where a shadow's training begins: None for where the target's does; a
        workdir or a target's folder to fine-tune that target, of whatever family it is
        (or, for a fine-tuned target, another entry of its `base`); or other sections
        (`sde`, `network`, `parameterisation`, `codec`, `conditioner`) for models of
        another family that are trained from fresh parameters.
      weights: whether their parameters are kept once their signals are read.
    """

    count: int = 4
    pool: str = "candidates"
    overlap: float | None = None
    asked: str = "all"
    base: str | Mapping[str, Any] | None = None
    weights: bool = True

    def __post_init__(self) -> None:
        at_least("shadows.count", self.count, 1)
        one_of("shadows.pool", self.pool, POOLS)
        one_of("shadows.asked", self.asked, ASKED)
        problem, remedy = "needs auxiliary shadows", "set shadows.pool='auxiliary'"
        aside = self.asked == "all" or self.pool == "auxiliary"
        require(aside, f"shadows.asked={self.asked!r}", problem, remedy)
        if self.overlap is not None:
            within("shadows.overlap", self.overlap, 0.0, 1.0)

    def split(self, split: Split, number: int, seed: int) -> Split:
        """Who is in one shadow's training set, among all images that it is asked about.

        Args:
          split: the target's; the shadow is asked about its images and auxiliary ones,
            or of the former about the reference alone.
          number: of the shadow, from 0; more shadows later do not change the first.
          seed: of the audit.

        Raises:
          UserError: nobody would be in it, or nobody out of it.
        """
        own = split.ids if self.asked == "all" else split.known
        ids = np.union1d(own, split.auxiliary)
        members = self._members(split, number, (seed + 1) << 31)
        require(
            0 < len(members) < len(ids),
            f"shadows.overlap={self.overlap}",
            f"trains a shadow on {len(members)} of {len(ids)} images",
            "give another share, more reference images, or split.auxiliary",
        )
        recipe = {"name": "shadow", "number": number, "seed": seed}
        nobody = np.zeros(len(ids), bool)
        return Split(ids, np.isin(ids, members), nobody, split.digest, recipe)

    def _members(self, split: Split, number: int, salt: int) -> np.ndarray:
        size = len(split.members)
        if self.pool == "candidates":
            if self.overlap is not None:
                size = round(self.overlap * len(split.ids))
            # Shadows take one order in turn: each image is in as many as any other.
            order, place = divmod(number, max(1, len(split.ids) // max(1, size)))
            return _first(split.ids, (place + 1) * size, salt + order)[place * size :]
        share = self.overlap or 0.0
        known = split.ids[split.reference & split.member]
        strangers = split.ids[split.reference & ~split.member]
        strangers = np.union1d(strangers, split.auxiliary)
        size = min(size, (len(known) + len(strangers)) // 2)
        for part, ids in ((share, known), (1 - share, strangers)):
            size = min(size, int(len(ids) / part)) if part else size
        inside = round(share * size)
        chosen = [_first(known, inside, salt + number)]
        chosen.append(_first(strangers, size - inside, salt + number))
        return np.concatenate(chosen)


def _first(ids: np.ndarray, count: int, salt: int) -> np.ndarray:
    """So many of the ids, in the order of their hash."""
    return ids[np.argsort(hashed(ids, salt), kind="stable")][:count]
