"""Copies among the target's samples: how near each is to a member, and to others.

    copies.npz      for each sample: its seed and number, and of either group the
                    nearest image, its distance, and the neighbours' mean distance
    copies.json     what that comes to (`metrics.copies`), and what it was made from

The samples are those that the audit draws anyway: the report's, and those of quality.
Images are read a block at a time and never held together.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from score_mia.auditing.quality import drawn
from score_mia.auditing.work import Work
from score_mia.files import json_digest, load_npz, load_sealed, save_npz, save_sealed
from score_mia.metrics.copies import Copies, Neighbours, neighbours, summary
from score_mia.report import files
from score_mia.report.content import NearestContent
from score_mia.report.picture import held_against
from score_mia.rows import Shards
from score_mia.sampling import as_picture
from score_mia.typed import from_json, to_json

ARRAYS, RECORD = "copies.npz", files.COPIES
_VERSION = 1
_SHAPE = {"copies": dict, "facts": str, "seed": int}


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """The audit's samples, held against its images.

    Attributes:
      samples: uint8 [s, h, w, c].
      members, nonmembers: the nearest images of either group.
    """

    samples: np.ndarray
    members: Neighbours
    nonmembers: Neighbours | None


def find(work: Work) -> NearestContent | None:
    """Look for copies, keep what was found, and say what a page may show of it.

    Returns:
      The samples' distances, closest first, and pictures only where the config asks
      for them; None where no samples are drawn, or the target is a service.

    Raises:
      UserError: copies.npz is damaged.
    """
    sets = work.plan.drawn
    if not sets:
        for name in (ARRAYS, RECORD):
            (work.folder / name).unlink(missing_ok=True)
        return None
    facts, found = _found(work, sets)
    plan = work.plan
    record = summary(
        *(found.members, found.nonmembers, plan.copies),
        level=plan.report.level,
        seed=plan.seed,
    )
    save_sealed(
        work.folder / RECORD,
        {
            "facts": facts,
            "target": work.digest,
            "seed": plan.seed,
            "copies": to_json(record),
        },
    )
    return held_against(
        found.samples,
        found.members,
        work.source.images,
        plan.copies,
        shown=plan.report.pictures,
    )


def again(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What copies.json says, and what the distances in copies.npz come to.

    Args:
      folder: of a finished audit.

    Returns:
      Two records; None where there is no copies.json, or no distances beside it.

    Raises:
      UserError: a file is damaged, or they belong to different samples.
    """
    path = folder / RECORD
    if not (path.exists() and (folder / ARRAYS).exists()):
        return None
    kept = load_sealed(path, _SHAPE)
    before = from_json(Copies, kept["copies"], str(path))
    # Distances of other samples, or to other images, are as good as none.
    read = _read(folder, kept["facts"])
    if read is None:
        return None
    now = summary(*read, before.setting, level=before.level, seed=kept["seed"])
    return to_json(before), to_json(now)


def _found(work: Work, sets: dict[int, int]) -> tuple[str, Found]:
    """The samples with their neighbours, searched or read; digest of what decides."""
    shards = {seed: drawn(work, count, seed) for seed, count in sets.items()}
    facts = _facts(work, shards)
    samples = np.concatenate([each.array("images") for each in shards.values()])
    read = _read(work.folder, facts)
    if read is None:
        read = _search(work, samples)
        columns = {
            "seed": np.concatenate([np.full(n, s) for s, n in sets.items()]),
            "number": np.concatenate([np.arange(n) for n in sets.values()]),
        }
        _save(work.folder, facts, columns, *read)
    return facts, Found(samples, *read)


def _facts(work: Work, shards: dict[int, Shards]) -> str:
    """Digest of all that decides the distances."""
    return json_digest(
        {
            "version": _VERSION,
            "samples": [[seed, s.made, len(s.ids)] for seed, s in shards.items()],
            "source": work.source.digest,
            "split": work.split.fingerprint,
            "neighbours": work.plan.copies.neighbours,
        }
    )


def _search(work: Work, samples: np.ndarray) -> tuple[Neighbours, Neighbours | None]:
    def pictures(ids: np.ndarray) -> np.ndarray:
        # With 8 bits a colour, as the samples have them: a copy is at distance 0.
        return as_picture(work.source.images(ids))

    count, split = work.plan.copies.neighbours, work.split
    members = neighbours(samples, split.members, pictures, count)
    if not len(split.nonmembers):
        return members, None
    return members, neighbours(samples, split.nonmembers, pictures, count)


_COLUMNS = ("index", "nearest", "mean", "used", "among")


def _save(
    folder: Path,
    facts: str,
    columns: dict[str, np.ndarray],
    members: Neighbours,
    nonmembers: Neighbours | None,
) -> None:
    arrays = {"facts": np.asarray(facts), **columns}
    for group, near in (("members", members), ("nonmembers", nonmembers)):
        if near is not None:
            arrays |= {f"{group}_{n}": np.asarray(v) for n, v in near._asdict().items()}
    save_npz(folder / ARRAYS, **arrays)


def _read(folder: Path, facts: str) -> tuple[Neighbours, Neighbours | None] | None:
    """The neighbours that are kept, if the same facts decided them."""
    path = folder / ARRAYS
    if not path.exists():
        return None
    arrays = load_npz(path, None)
    if str(arrays.get("facts")) != facts:
        return None

    def group(name: str) -> Neighbours:
        index, nearest, mean, used, among = (arrays[f"{name}_{c}"] for c in _COLUMNS)
        return Neighbours(index, nearest, mean, int(used), int(among))

    other = group("nonmembers") if "nonmembers_index" in arrays else None
    return group("members"), other
