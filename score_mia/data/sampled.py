"""Some images of a large split: the others are trained on, but nobody reads them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from score_mia.check import at_least, require, within
from score_mia.data.given import files, folders, listed
from score_mia.data.source import Source
from score_mia.data.split import SEED_MAX, Split, coin, shuffled
from score_mia.registry import make

_DRAW = 3  # second word of the seed, apart from those of `split`
WHOLE: dict[str, Callable[..., Split]] = {
    "shuffled": shuffled,
    "coin": coin,
    "files": files,
    "folders": folders,
    "listed": listed,
}
"""Kinds of splits that another can be a part of."""


def sampled(
    source: Source,
    split: Mapping[str, Any],
    members: int,
    nonmembers: int | None = None,
    seed: int = 2022,
) -> Split:
    """A random part of another split, for targets with more members than one can ask.

    The members that are not drawn stay in the training set, as `unjudged`; the
    non-members that are not drawn take no part. The share of reference images of each
    group stays. What is drawn has fixed counts, so no coins: see `coin` for those.

    Args:
      source: the images.
      split: the other split, `dict(name=..., ...)`.
      members: how many of its members are judged or known.
      nonmembers: likewise; None for as many as members.
      seed: of the draw.

    Raises:
      UserError: the other split has fewer of a group.
    """
    at_least("members", members, 1)
    nonmembers = members if nonmembers is None else nonmembers
    at_least("nonmembers", nonmembers, 1)
    within("seed", seed, 0, SEED_MAX)
    whole = make("split", WHOLE, split, source=source)
    generator = np.random.RandomState((seed, _DRAW))
    drawn = np.zeros(len(whole.ids), bool)
    for group, name, count in (
        (whole.member, "members", members),
        (~whole.member, "nonmembers", nonmembers),
    ):
        have = int(group.sum())
        problem, remedy = f"but the split has {have}", "ask for fewer"
        require(count <= have, f"split.{name}={count}", problem, remedy)
        drawn[_drawn(group, whole.reference, count, generator)] = True
    recipe = {"name": "sampled", "of": dict(whole.recipe), "seed": seed}
    recipe |= {"members": members, "nonmembers": nonmembers}
    return dataclasses.replace(
        whole,
        ids=whole.ids[drawn],
        member=whole.member[drawn],
        reference=whole.reference[drawn],
        recipe=recipe,
        unjudged=np.union1d(whole.unjudged, whole.ids[whole.member & ~drawn]),
    )


def _drawn(
    group: Bool[np.ndarray, " n"],
    reference: Bool[np.ndarray, " n"],
    count: int,
    generator: np.random.RandomState,
) -> Int[np.ndarray, " count"]:
    """Rows of a group, as many of them reference as their share in it says."""
    known = np.flatnonzero(group & reference)
    others = np.flatnonzero(group & ~reference)
    few = round(count * len(known) / int(group.sum()))
    parts = ((known, few), (others, count - few))
    return np.concatenate([generator.permutation(rows)[:n] for rows, n in parts])
