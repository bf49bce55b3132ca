"""scores.csv: what each attack says of each image, the most exposed members first.

For whoever has to act on an audit: which images, by file name. It lies in the workdir,
outside of the report's folder, which may be handed on.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from score_mia.auditing.assess import Assessment
from score_mia.data.source import Source
from score_mia.files import load_npz, write_atomic
from score_mia.readings import Readings
from score_mia.report import files

FILE = "scores.csv"
_SHOWN = 20
"""How many of the most exposed members a page names, if it names any."""
_BLOCK = 4096
"""Rows that are made at a time."""


class Exposure(NamedTuple):
    """What an attack says of one image.

    Attributes:
      id: of the image.
      file: its name; "" where the data have none.
      role: "member" or "non-member".
      score: its membership score; larger is more member-like.
      confidence: how surely it can be told from an image that was never trained on: 1
        less its rank among the evaluation's non-members, (1 + k) / (n + 1), where k of
        those n others score at least as high. No higher value than n / (n + 1) can be
        shown; of non-members themselves it is as good as uniform.
    """

    id: int
    file: str
    role: str
    score: float
    confidence: float


@dataclasses.dataclass(frozen=True, eq=False)
class Ranked:
    """An attack's images, members before non-members, the highest scores first.

    Rows are made while they are gone through, a block at a time: of a million images
    no list is held.

    Attributes:
      ids, member, scores: of the images under evaluation.
      source: knows their files' names.
    """

    ids: Int[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    source: Source

    def __iter__(self) -> Iterator[Exposure]:
        """Each image's row."""
        confidence = confidences(self.scores, self.member)
        order = np.lexsort((self.ids, -self.scores, ~self.member))
        for start in range(0, len(order), _BLOCK):
            rows = order[start : start + _BLOCK]
            ids = self.ids[rows]
            files = self.source.columns(ids, ("file",)).get("file")
            files = np.full(len(ids), "") if files is None else np.asarray(files, str)
            roles = np.where(self.member[rows], "member", "non-member")
            numbers = self.scores[rows].astype(float), confidence[rows]
            columns = (a.tolist() for a in (ids, files, roles, *numbers))
            for row in zip(*columns, strict=True):
                yield Exposure(*row)


def exposures(
    ids: Int[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    scores: Float[np.ndarray, " n"],
    source: Source,
) -> list[Exposure]:
    """The rows of `Ranked`, all of them in a list."""
    return list(Ranked(ids, member, scores, source))


def confidences(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """1 - (1 + k) / (n + 1) for each image; see `Exposure`.

    A non-member is held against the others, never against itself.
    """
    outside = np.sort(scores[~member])
    as_high = len(outside) - np.searchsorted(outside, scores, side="left") - ~member
    return 1 - (1 + as_high) / (len(outside) - ~member + 1)


def of(assessments: Iterable[Assessment], source: Source) -> dict[str, Ranked]:
    """Attack -> its images."""
    return {
        a.attack.name: Ranked(a.signals.ids, _known(a.signals), a.scores, source)
        for a in assessments
    }


def _known(signals: Readings) -> Bool[np.ndarray, " n"]:
    assert signals.member is not None  # an assessment's rows are labelled
    return signals.member


def named(attacks: Mapping[str, Iterable[Exposure]]) -> dict[str, dict[str, str]]:
    """For a page: the confidence of the most exposed members, by file or else by id."""
    groups = {}
    for name, images in attacks.items():
        # Members come first.
        first = itertools.islice(images, _SHOWN)
        members = [one for one in first if one.role == "member"]
        groups[f"Most exposed by {name}"] = {
            one.file or f"id {one.id}": f"confidence {one.confidence:.4g}"
            for one in members
        }
    return groups


def load(
    folder: Path, attack: str
) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Ids, roles and scores of the images that an attack was judged on.

    Raises:
      UserError: nothing is kept of it, or what is kept is damaged.
    """
    path = folder / files.SCORES / f"{attack}.npz"
    arrays = load_npz(path, ("ids", "member", "scores"), remedy=files.AGAIN)
    return arrays["ids"], arrays["member"], arrays["scores"]


def save(folder: Path, attacks: Mapping[str, Iterable[Exposure]]) -> Path:
    """Write scores.csv, the attacks in their order; a name cannot be a formula."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("attack", *Exposure._fields))
        for name, images in attacks.items():
            for one in images:
                # A spreadsheet runs what begins like this; a quote makes it a text.
                risky = one.file[:1] in ("=", "+", "-", "@", "\t", "\r")
                file_name = f"'{one.file}" if risky else one.file
                confidence = round(one.confidence, 6)
                row = one._replace(file=file_name, confidence=confidence)
                rows.writerow((name, *row))
        text.detach()  # flushed; the file is closed by who opened it

    write_atomic(folder / FILE, write)
    return folder / FILE
