"""What pages and exhibits are made of: plain values, read from files by `report.files`.

Nothing here reads a workdir or knows a registry: whoever fills these records decides
where the numbers came from, the report only shows them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from score_mia.check import require
from score_mia.metrics.copies import Copies
from score_mia.report.curves import ColumnCurves
from score_mia.report.text import distinct, without_folders
from score_mia.results import AttackResult, AuditResult

Pictures = Shaped[np.ndarray, "_ _ _ _"]
"""Pictures [n, h, w, c]: uint8, or floats in [0, 1]; one, three or four channels."""


@dataclasses.dataclass(frozen=True, eq=False)
class Stepped:
    """What an attack measured at every diffusion step (Fig. 1 of Hu & Pang 2023).

    Attributes:
      names: K column names, e.g. "loss@200".
      time: [K] the process's own clock, ascending in noise.
      log_snr: [K] ln(alpha² / std²), the axis that all processes share.
      curves: AUC and TPRs of every column, with their intervals.
      chosen: the column the rule chose on reference data, None if it uses all.
      time_label: the label of the time axis, e.g. "diffusion step t".
    """

    names: tuple[str, ...]
    time: Float[np.ndarray, " k"]
    log_snr: Float[np.ndarray, " k"]
    curves: ColumnCurves
    chosen: int | None = None
    time_label: str = "diffusion step t"

    def __post_init__(self) -> None:
        k = len(self.names)
        require(
            self.curves.auc.shape[1:] == self.time.shape == self.log_snr.shape == (k,),
            "report columns",
            f"{k} names, curves of {self.curves.auc.shape[1:]}, times "
            f"{self.time.shape} and log-SNR {self.log_snr.shape} do not fit",
            "give one time and one log-SNR per column",
        )
        require(
            self.chosen is None or 0 <= self.chosen < k,
            f"chosen={self.chosen}",
            f"is no column of {k}",
            "give the index of a column or None",
        )

    def axis(self, name: str) -> Float[np.ndarray, " k"]:
        """The columns' places on "time" or "log_snr"."""
        return self.time if name == "time" else self.log_snr

    def time_text(self, time: float) -> str:
        """A time as people write it: a whole step, or three digits."""
        return f"{time:.0f}" if "step" in self.time_label else f"{time:.3g}"

    def words(self, index: int) -> str:
        """A column in words, e.g. "loss at diffusion step 143"."""
        return self.in_words(self.names[index])

    def in_words(self, text: str) -> str:
        """A text with every column's name in it said in words."""
        clock = self.time_label.removesuffix(" t")
        return _COLUMN.sub(rf"\1 at {clock} \2", text)


_COLUMN = re.compile(r"\b([A-Za-z_]\w*)@([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
"""A column's name in a text, e.g. "loss@143"."""


@dataclasses.dataclass(frozen=True, eq=False)
class AttackContent:
    """One attack on the evaluation rows.

    Attributes:
      name: its key in metrics.json.
      result: its numbers, or why it has none.
      scores: [N] membership scores, higher = more member-like; none if it failed.
      member: [N] True for members (the positive class).
      stepped: what it measured step by step, None for a single number per image.
      diagnostics: means over the evaluation rows, by name with unit.
      notes: lines to print as they are.
    """

    name: str
    result: AttackResult
    scores: Float[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    stepped: Stepped | None = None
    diagnostics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = len(self.member)
        require(
            self.scores.shape == (rows,),
            f"report of attack {self.name!r}",
            f"scores do not have {rows} rows",
            "give one row per evaluated image",
        )

    @property
    def title(self) -> str:
        """How people call it."""
        return self.result.title or self.name

    @property
    def failed(self) -> str:
        """Why there are no numbers; empty for an attack that worked."""
        return without_folders(self.result.failed or "")


@dataclasses.dataclass(frozen=True, eq=False)
class PerturbedContent:
    """Pictures with the noise of chosen steps added (Fig. 3 of Hu & Pang 2023).

    Attributes:
      images: [rows, steps, h, w, c], one picture per row, least noise first.
      labels: one text per step, e.g. "t = 200"; lines are split at line breaks.
    """

    images: Shaped[np.ndarray, "rows steps h w c"]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        steps = self.images.shape[1]
        require(
            steps == len(self.labels),
            "perturbed pictures",
            f"{len(self.labels)} labels for {steps} steps",
            "give one label per step",
        )


@dataclasses.dataclass(frozen=True, eq=False)
class NearestContent:
    """How near samples come to training images.

    Attributes:
      distances: [s] root-mean-square difference of each sample's pixels, in the unit of
        [0, 1], to those of the nearest training image, in the order of `relative`.
      among: how many training images were searched; 0 if they could not be.
      samples: [p, h, w, c] the nearest samples, or None where they are not shown.
      members: [p, h, w, c] the training image nearest to each of these.
      relative: [s] the relative distances (`metrics.copies`), ascending; None in
        reports of audits that measured none.
    """

    distances: Float[np.ndarray, " s"]
    among: int
    samples: Pictures | None = None
    members: Pictures | None = None
    relative: Float[np.ndarray, " s"] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything `write` shows.

    Pictures that are given are shown: whoever may not show them leaves them out.

    Attributes:
      result: the audit's numbers.
      attacks: in the order to show them.
      members, nonmembers: pictures of either group; a few are shown.
      perturbed: noised pictures at chosen steps.
      nearest: the samples' distances to training images, and the nearest of them.
      copies: what was found of copies among the samples.
      training: records of the training run with "step" and "loss".
      facts: sections of key/value pairs: split, seeds, versions, device, ...
      warnings: what makes the numbers less trustworthy, besides what they tell.
    """

    result: AuditResult
    attacks: tuple[AttackContent, ...] = ()
    members: Pictures | None = None
    nonmembers: Pictures | None = None
    perturbed: PerturbedContent | None = None
    nearest: NearestContent | None = None
    copies: Copies | None = None
    training: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def titles(self) -> dict[str, str]:
        """Attack name to title, no two alike."""
        return titles_of(self.result)


def titles_of(result: AuditResult) -> dict[str, str]:
    """Attack name to title, no two alike."""
    return distinct({name: a.title or name for name, a in result.attacks.items()})
