"""Who is a member, who is not, and whom an attack's rule may be fitted on.

A split is made once, saved in the workdir and tied to its data by their digest. Two
roles cut across it: *member* (in the target's training set) and *reference* (known to
the attacker, for fits and choices). What is not reference is evaluation data, and
nothing is ever chosen on it. Two kinds of images beside them are read by no attack:
members that are only trained on, and auxiliary images for models of the attacker's own.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from score_mia.check import at_least, require, within
from score_mia.data.source import Source
from score_mia.files import digest, load_npz, parse_json, save_npz

_REFERENCE = 1  # second word of the seed of the draw of reference rows
_COIN = 2  # second word of the seed of the coins
SEED_MAX = 2**32 - 1
"""Of NumPy's RandomState."""
BESIDE = ("auxiliary", "unjudged")
"""Roles of images that no attack reads."""


def nobody() -> Int[np.ndarray, " 0"]:
    """No ids."""
    return np.zeros(0, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The images that take part, and the roles of each.

    Attributes:
      ids: [N] int64, strictly ascending.
      member: [N] bool, True for the training set.
      reference: [N] bool, True for what a rule may see with its label.
      digest: of the source that the ids belong to.
      recipe: how the split was made, JSON values only.
      auxiliary: [A] int64, ids of further images of the source: of the same kind, in
        nobody's training set and judged nowhere, for whoever trains models of his own.
      unjudged: [U] int64, ids of further members: trained on, but neither judged nor
        known, so that a sample of a large training set can be audited.
    """

    ids: Int[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    reference: Bool[np.ndarray, " n"]
    digest: str
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    auxiliary: Int[np.ndarray, " a"] = dataclasses.field(default_factory=nobody)
    unjudged: Int[np.ndarray, " u"] = dataclasses.field(default_factory=nobody)

    def __post_init__(self) -> None:
        n = len(self.ids)
        ok = len(self.member) == n and len(self.reference) == n
        require(ok, "split", "roles do not fit the ids", "give one of each per id")
        require(
            bool(np.all(np.diff(self.ids) > 0)),
            "split",
            "ids are not strictly ascending",
            "sort them and give each image once",
        )
        beside = np.concatenate([getattr(self, name) for name in BESIDE])
        once = len(np.unique(beside)) == len(beside)
        require(
            once and not np.isin(beside, self.ids).any(),
            "split",
            "has auxiliary or unjudged images that play another part too",
            "remove them from one of the two",
        )
        for what, count in self.counts.items():
            problem = f"has no {what} left to evaluate on"
            remedy = "give more images, or a smaller reference share"
            require(what == "reference" or count > 0, "split", problem, remedy)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Split):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    __hash__ = None

    @property
    def members(self) -> Int[np.ndarray, " m"]:
        """Ids of the whole training set, reference and unjudged members included."""
        read = self.ids[self.member]
        return np.union1d(read, self.unjudged) if len(self.unjudged) else read

    @property
    def nonmembers(self) -> Int[np.ndarray, " m"]:
        """Ids of all non-members, reference ones included."""
        return self.ids[~self.member]

    @property
    def evaluation(self) -> Int[np.ndarray, " e"]:
        """Ids of all images that are not reference data."""
        return self.ids[~self.reference]

    @property
    def known(self) -> Int[np.ndarray, " r"]:
        """Ids of the reference data."""
        return self.ids[self.reference]

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of evaluation members and non-members, and of reference images."""
        used = ~self.reference
        return {
            "members": int(np.sum(self.member & used)),
            "nonmembers": int(np.sum(~self.member & used)),
            "reference": int(np.sum(self.reference)),
        }

    @property
    def fingerprint(self) -> str:
        """Digest of the whole split: roles, data and recipe."""
        recipe = json.dumps(dict(self.recipe), sort_keys=True)
        beside = [getattr(self, name) for name in BESIDE]
        while beside and not len(beside[-1]):  # as splits without them always were
            beside.pop()
        roles = (self.ids, self.member, self.reference)
        return digest(*roles, self.digest, recipe, *beside)

    def check(self, source: Source) -> None:
        """Refuse a source other than the one the split was made for."""
        require(
            source.digest == self.digest,
            "split",
            f"was made for data with digest {self.digest}, not {source.digest}",
            "the images or their labels have changed: restore them or start in a new "
            "workdir",
        )

    def save(self, path: str | Path) -> None:
        """Write one npz atomically."""
        save_npz(
            path,
            ids=self.ids,
            member=self.member,
            reference=self.reference,
            digest=np.asarray(self.digest),
            recipe=np.asarray(json.dumps(dict(self.recipe), sort_keys=True)),
            **{name: ids for name in BESIDE if len(ids := getattr(self, name))},
        )

    @staticmethod
    def load(path: str | Path) -> Split:
        """Read a split written by `save`; `UserError` if it is missing or damaged."""
        remedy = "delete it and run again: it is made again as the config says"
        keys = {"ids", "member", "reference", "digest", "recipe"}
        fields = load_npz(path, None, remedy=remedy)
        whole = keys <= fields.keys() <= keys | {*BESIDE}
        require(whole, f"{path}", f"holds {sorted(fields)}, no split", remedy)
        text = str(fields.pop("recipe"))
        recipe = parse_json(str(path), text, dict, remedy=remedy)
        kinds = [fields[k].dtype.kind for k in ("ids", "member", "reference")]
        require(kinds == ["i", "b", "b"], f"{path}", "is no split", remedy)
        return Split(digest=str(fields.pop("digest")), recipe=recipe, **fields)


def shuffled(
    source: Source,
    members: int,
    nonmembers: int | None = None,
    reference: float = 0.5,
    seed: int = 2022,
    auxiliary: int = 0,
) -> Split:
    """The paper's split: shuffle the ids, the first `members` are the training set.

    The shuffle is NumPy's `RandomState(seed)` on 0 ... N-1, frozen for ever, so
    seed 2022 gives the members of the paper's authors (FFHQ: 8540, 50061, 13301, ...).

    Args:
      source: the images.
      members: size of the training set.
      nonmembers: how many of the following are non-members; None takes all the rest.
      reference: share of each class set aside for fits, drawn by a generator of its
        own, so that it does not move the members.
      seed: of both generators.
      auxiliary: how many of the images after these are kept for shadow models.
    """
    at_least("members", members, 1)
    at_least("auxiliary", auxiliary, 0)
    within("seed", seed, 0, SEED_MAX)
    total = len(source.ids)
    nonmembers = total - members - auxiliary if nonmembers is None else nonmembers
    ok = nonmembers >= 1 and members + nonmembers + auxiliary <= total
    problem = f"do not fit {total} images"
    remedy = f"leave at least one non-member, and ask for at most {total} together"
    require(ok, f"members={members}, nonmembers={nonmembers}", problem, remedy)
    order = np.arange(total)
    np.random.RandomState(seed).shuffle(order)
    rows = order[: members + nonmembers]
    member = np.arange(len(rows)) < members
    recipe = {"name": "shuffled", "members": members, "nonmembers": nonmembers}
    recipe |= {"auxiliary": auxiliary} if auxiliary else {}
    made = set_aside(source, source.ids[rows], member, reference, seed, recipe)
    further = np.sort(source.ids[order[len(rows) : len(rows) + auxiliary]])
    return dataclasses.replace(made, auxiliary=further)


def coin(
    source: Source,
    size: int | None = None,
    probability: float = 0.5,
    reference: float = 0.5,
    seed: int = 2022,
    auxiliary: int = 0,
) -> Split:
    """Each image is a member by its own coin, as one-run privacy audits require.

    The reference rows are drawn without a look at the coins, so the coins of the
    evaluation rows stay independent; `shuffled` fixes the counts and has no such rows.

    Args:
      source: the images.
      size: how many of them (at random) take part; None takes all.
      probability: of being a member.
      reference: share of the images set aside for fits.
      seed: of all three generators.
      auxiliary: how many of the other images are kept for shadow models.
    """
    at_least("auxiliary", auxiliary, 0)
    within("probability", probability, 0.0, 1.0)
    within("seed", seed, 0, SEED_MAX)
    within("reference", reference, 0.0, 1.0)
    total = len(source.ids)
    size = total - auxiliary if size is None else size
    within("size", size, 2, total - auxiliary)
    order = np.arange(total)
    np.random.RandomState(seed).shuffle(order)
    ids = source.ids[np.sort(order[:size])]
    member = np.random.RandomState((seed, _COIN)).random_sample(size) < probability
    chosen = np.random.RandomState((seed, _REFERENCE)).permutation(size)
    mask = np.zeros(size, bool)
    mask[chosen[: int(reference * size)]] = True
    recipe = {
        "name": "coin",
        "size": size,
        "probability": float(probability),
        "reference": float(reference),
        "seed": seed,
        "independent": True,
    }
    recipe |= {"auxiliary": auxiliary} if auxiliary else {}
    further = np.sort(source.ids[order[size : size + auxiliary]])
    return Split(ids, member, mask, source.digest, recipe, further)


def set_aside(
    source: Source,
    ids: Int[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    reference: float,
    seed: int,
    recipe: dict[str, Any],
) -> Split:
    """A split whose reference images are a random share of each class.

    Args:
      source: the images.
      ids, member: of those that take part, in any order.
      reference: the share.
      seed: of the draw.
      recipe: how the others were chosen; share and seed are added.
    """
    within("reference", reference, 0.0, 1.0)
    within("seed", seed, 0, SEED_MAX)
    order = np.argsort(ids)
    ids, member = ids[order], member[order]
    mask = np.zeros(len(ids), bool)
    generator = np.random.RandomState((seed, _REFERENCE))
    for rows in (np.flatnonzero(member), np.flatnonzero(~member)):
        mask[generator.permutation(rows)[: int(reference * len(rows))]] = True
    recipe = {**recipe, "reference": float(reference), "seed": seed}
    return Split(ids, member, mask, source.digest, recipe)
