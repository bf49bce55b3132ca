"""Who is a member, who is not, and whom an attack's rule may be fitted on.

A split is made once, saved in the workdir and tied to its data by their digest. Two
roles cut across it: *member* (in the target's training set) and *reference* (known to
the attacker, for fits and choices). What is not reference is evaluation data, and
nothing is ever chosen on it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from score_mia.check import (
    UserError,
    at_least,
    require,
    within,
)
from score_mia.data.lists import Listed, inside, listed_ids, shown
from score_mia.data.source import Source
from score_mia.files import digest, load_npz, parse_json, save_npz

_REFERENCE = 1  # second word of the seed of the draw of reference rows
_COIN = 2  # second word of the seed of the coins
_SEED_MAX = 2**32 - 1  # of NumPy's RandomState
_NAMES = 2**16  # file names that are held at a time


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
    """

    ids: Int[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    reference: Bool[np.ndarray, " n"]
    digest: str
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    auxiliary: Int[np.ndarray, " a"] = dataclasses.field(
        default_factory=lambda: np.zeros(0, np.int64)
    )

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
        require(
            not np.isin(self.auxiliary, self.ids).any(),
            "split",
            "has auxiliary images that are members or non-members",
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
        """Ids of the whole training set, reference members included."""
        return self.ids[self.member]

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
        further = (self.auxiliary,) if len(self.auxiliary) else ()
        roles = (self.ids, self.member, self.reference)
        return digest(*roles, self.digest, recipe, *further)

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
            **({"auxiliary": self.auxiliary} if len(self.auxiliary) else {}),
        )

    @staticmethod
    def load(path: str | Path) -> Split:
        """Read a split written by `save`; `UserError` if it is missing or damaged."""
        remedy = "delete it and run again: it is made again as the config says"
        keys = {"ids", "member", "reference", "digest", "recipe"}
        fields = load_npz(path, None, remedy=remedy)
        whole = keys <= fields.keys() <= keys | {"auxiliary"}
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
    within("seed", seed, 0, _SEED_MAX)
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
    made = _split(source, source.ids[rows], member, reference, seed, recipe)
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
    within("seed", seed, 0, _SEED_MAX)
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


def files(
    source: Source,
    members: Listed,
    nonmembers: Listed | None = None,
    reference: float = 0.5,
    reference_members: Listed | None = None,
    reference_nonmembers: Listed | None = None,
    seed: int = 2022,
    auxiliary: Listed | None = None,
) -> Split:
    """A split given by lists of ids or of file names.

    A list is written out (`members=["a.png", "b.png"]`), or it is a text file with one
    id or file name a line (# begins a comment), an npy file, or an npz file with arrays
    "members" and "nonmembers" or, as SecMI's published splits have them,
    "mia_train_idxs" and "mia_eval_idxs". A file's name is its path within the folder
    of the images.

    Args:
      source: the images.
      members: the training set.
      nonmembers: images that were not in it; None reads the same npz as `members`.
      reference: share of each class set aside for fits, where the lists below do not
        say which images are.
      reference_members: known members (listed in `members` too, or not).
      reference_nonmembers: known non-members, likewise.
      seed: of the draw of the reference share.
      auxiliary: further images, for shadow models.

    Raises:
      UserError: a damaged list, an image twice, in both classes, or not in the source.
    """
    inside = listed_ids(members, "members", source)
    other = members if nonmembers is None else nonmembers
    outside = listed_ids(other, "nonmembers", source)
    listed = []
    if reference_members is not None:
        listed.append(listed_ids(reference_members, "members", source))
        inside = np.union1d(inside, listed[-1])
    if reference_nonmembers is not None:
        listed.append(listed_ids(reference_nonmembers, "nonmembers", source))
        outside = np.union1d(outside, listed[-1])
    ids = _both(inside, outside, source)
    member = np.arange(len(ids)) < len(inside)
    lists = [shown(p) for p in (members, nonmembers) if p is not None]
    recipe = {"name": "files", "lists": lists}
    further = np.zeros(0, np.int64)
    if auxiliary is not None:
        further = listed_ids(auxiliary, "nonmembers", source)
        _both(ids, further, source)
    if not listed:
        made = _split(source, ids, member, reference, seed, recipe)
        return dataclasses.replace(made, auxiliary=further)
    order = np.argsort(ids)
    mask = np.isin(ids, np.concatenate(listed))
    roles = (ids[order], member[order], mask[order])
    return Split(*roles, source.digest, recipe, further)


def folders(
    source: Source,
    members: str = "members",
    nonmembers: str = "nonmembers",
    auxiliary: str | None = None,
    reference: float = 0.5,
    seed: int = 2022,
) -> Split:
    """A split given by the folders that the images' files lie in.

    Args:
      source: images with file names.
      members, nonmembers: each a folder, relative to that of the data; those below it
        count as well.
      auxiliary: a folder of further images, for shadow models.
      reference: share of each class set aside for fits.
      seed: of the draw of the reference share.

    Raises:
      UserError: images without file names, or a folder without images.
    """
    if "file" not in source.columns(source.ids[:1], ("file",)):
        raise UserError(
            "split folders: these data have no files; give data=dict(name='folder')"
        )

    def within_it(folder: str) -> Int[np.ndarray, " k"]:
        parts = []
        for start in range(0, len(source.ids), _NAMES):
            some = source.ids[start : start + _NAMES]
            known = source.columns(some, ("file",))["file"]
            parts.append(inside(some, known, folder))
        ids = np.concatenate(parts)
        first = source.columns(source.ids[:1], ("file",))["file"][0]
        problem, remedy = "holds no image", f"give a folder such as {first!r}'s"
        require(len(ids) > 0, f"split folder {folder!r}", problem, remedy)
        return ids

    one, other = within_it(members), within_it(nonmembers)
    ids, further = _both(one, other, source), np.zeros(0, np.int64)
    if auxiliary is not None:
        further = within_it(auxiliary)
        _both(ids, further, source)
    recipe = {"name": "folders", "members": members, "nonmembers": nonmembers}
    member = np.arange(len(ids)) < len(one)
    made = _split(source, ids, member, reference, seed, recipe)
    return dataclasses.replace(made, recipe=recipe, auxiliary=further)


def _both(
    inside: Int[np.ndarray, " n"], outside: Int[np.ndarray, " m"], source: Source
) -> Int[np.ndarray, " k"]:
    """Members, then non-members: none of them both, all of them in the source."""
    both = np.intersect1d(inside, outside)
    problem = f"{len(both)} ids are member and non-member (first: {both[:1].tolist()})"
    require(len(both) == 0, "split files", problem, "remove them from one list")
    ids = np.concatenate([inside, outside])
    unknown = ids[~np.isin(ids, source.ids)]
    problem = f"{len(unknown)} ids are not in the data (first: {unknown[:1].tolist()})"
    remedy = f"give ids from {source.ids[0]} to {source.ids[-1]}"
    require(len(unknown) == 0, "split files", problem, remedy)
    return ids


def _split(
    source: Source,
    ids: Int[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    reference: float,
    seed: int,
    recipe: dict[str, Any],
) -> Split:
    """Sort by id and set aside a share of each class."""
    within("reference", reference, 0.0, 1.0)
    within("seed", seed, 0, _SEED_MAX)
    order = np.argsort(ids)
    ids, member = ids[order], member[order]
    mask = np.zeros(len(ids), bool)
    generator = np.random.RandomState((seed, _REFERENCE))
    for rows in (np.flatnonzero(member), np.flatnonzero(~member)):
        mask[generator.permutation(rows)[: int(reference * len(rows))]] = True
    recipe = {**recipe, "reference": float(reference), "seed": seed}
    return Split(ids, member, mask, source.digest, recipe)
