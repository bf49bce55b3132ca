"""Splits that are given: by lists of images, or by the folders they lie in."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int

from score_mia.check import UserError, require
from score_mia.data.lists import Listed, inside, listed_ids, shown
from score_mia.data.source import Source
from score_mia.data.split import Split, nobody, set_aside

_NAMES = 2**16  # file names that are held at a time


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

    A list is written out (`members=["a.png", "b.png"]`, `["0:1000"]` for ids from 0 to
    999), or it is a text file with one id or file name a line (# begins a comment), an
    npy file, or an npz file with arrays "members" and "nonmembers" or, as SecMI's
    published splits have them, "mia_train_idxs" and "mia_eval_idxs". A file's name is
    its path within the folder of the images.

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
    other = members if nonmembers is None else nonmembers
    known = (reference_members, reference_nonmembers)
    made = listed(source, members, other, *known, auxiliary)
    lists = [shown(p) for p in (members, nonmembers) if p is not None]
    recipe = {"name": "files", "lists": lists}
    if known != (None, None):
        return dataclasses.replace(made, recipe=recipe)
    drawn = set_aside(source, made.ids, made.member, reference, seed, recipe)
    return dataclasses.replace(drawn, auxiliary=made.auxiliary)


def listed(
    source: Source,
    members: Listed,
    nonmembers: Listed,
    reference_members: Listed | None = None,
    reference_nonmembers: Listed | None = None,
    auxiliary: Listed | None = None,
    unjudged: Listed | None = None,
) -> Split:
    """A split of which every role is given by a list; `files` says what lists may be.

    Args:
      source: the images.
      members: images of the training set that are judged.
      nonmembers: images that were not in it, judged as well.
      reference_members: known members (listed in `members` too, or not).
      reference_nonmembers: known non-members, likewise.
      auxiliary: further images, for shadow models.
      unjudged: further members: trained on, but neither judged nor known.

    Raises:
      UserError: a damaged list, an image twice, in both classes, or not in the source.
    """

    def ids_of(given: Listed | None, role: str) -> Int[np.ndarray, " n"]:
        return nobody() if given is None else listed_ids(given, role, source)

    roles = {"members": reference_members, "nonmembers": reference_nonmembers}
    known = {role: ids_of(given, role) for role, given in roles.items()}
    inside = np.union1d(ids_of(members, "members"), known["members"])
    outside = np.union1d(ids_of(nonmembers, "nonmembers"), known["nonmembers"])
    ids = _both(inside, outside, source)
    further, silent = ids_of(auxiliary, "nonmembers"), ids_of(unjudged, "members")
    for some in (further, silent):
        _both(ids, some, source)
    order = np.argsort(ids)
    member = np.arange(len(ids)) < len(inside)
    mask = np.isin(ids, np.concatenate([*known.values()]))
    recipe = {"name": "listed", "lists": [shown(p) for p in (members, nonmembers)]}
    masks = (member[order], mask[order])
    return Split(ids[order], *masks, source.digest, recipe, further, silent)


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
    ids, further = _both(one, other, source), nobody()
    if auxiliary is not None:
        further = within_it(auxiliary)
        _both(ids, further, source)
    recipe = {"name": "folders", "members": members, "nonmembers": nonmembers}
    member = np.arange(len(ids)) < len(one)
    made = set_aside(source, ids, member, reference, seed, recipe)
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
