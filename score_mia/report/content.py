"""What a report is made of: plain values, gathered by the `audit` room.

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
from score_mia.report.text import distinct, without_folders

Pictures = Shaped[np.ndarray, "_ _ _ _"]
"""Pictures [n, h, w, c]: uint8, or floats in [0, 1]; one, three or four channels."""


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnContent:
    """The per-step signals of one attack, for the curves of Fig. 1 of the paper.

    Attributes:
      names: K column names, e.g. "loss@200".
      values: [N, K] signals of the evaluation rows, higher = more member-like.
      time: [K] the process's own clock, ascending in noise.
      log_snr: [K] ln(alpha² / std²), the axis that all processes share.
      chosen_index: the column the rule chose on reference data, None if it uses all.
      time_label: the label of the time axis, e.g. "diffusion step".
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "n k"]
    time: Float[np.ndarray, " k"]
    log_snr: Float[np.ndarray, " k"]
    chosen_index: int | None = None
    time_label: str = "diffusion step"

    def __post_init__(self) -> None:
        k = len(self.names)
        require(
            self.values.shape[1:] == self.time.shape == self.log_snr.shape == (k,),
            "report columns",
            f"{k} names, values {self.values.shape}, times {self.time.shape} and "
            f"log-SNR {self.log_snr.shape} do not fit",
            "give one time and one log-SNR per column",
        )
        chosen = self.chosen_index
        require(
            chosen is None or 0 <= chosen < k,
            f"chosen_index={chosen}",
            f"is no column of {k}",
            "give the index of a column or None",
        )

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
    """One attack's results on the evaluation rows.

    Attributes:
      name: the key of the attack in metrics.json.
      title: how people call it, e.g. "Loss at one diffusion step".
      access: see `attacks.protocol.Access`.
      metrics: the attack's entry of metrics.json.
      scores: [N] membership scores, higher = more member-like; none if it failed.
      member: [N] True for members (the positive class).
      columns: per-step signals, None for an attack with a single number per image.
      diagnostics: means over the evaluation rows, e.g. "standard error (bits/dim)".
      notes: lines to print as they are.
    """

    name: str
    title: str
    access: str
    metrics: Mapping[str, Any]
    scores: Float[np.ndarray, " n"]
    member: Bool[np.ndarray, " n"]
    columns: ColumnContent | None = None
    diagnostics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows = len(self.member)
        require(
            self.scores.shape == (rows,)
            and (self.columns is None or len(self.columns.values) == rows),
            f"report of attack {self.name!r}",
            f"scores or columns do not have {rows} rows",
            "give one row per evaluated image",
        )

    @property
    def failed(self) -> str:
        """Why there are no numbers; empty for an attack that worked."""
        return without_folders(str(self.metrics.get("failed", "")))

    @property
    def members(self) -> int:
        """How many evaluation rows are members."""
        return int(np.count_nonzero(self.member))

    @property
    def nonmembers(self) -> int:
        """How many evaluation rows are non-members."""
        return len(self.member) - self.members


@dataclasses.dataclass(frozen=True, eq=False)
class PerturbedContent:
    """Pictures with the noise of chosen steps added (Fig. 3 of the paper).

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
    """How near samples come to training images, for a page that shows neither.

    Attributes:
      distances: [s] root-mean-square difference of each sample's pixels, in the unit of
        [0, 1], to those of the nearest training image.
      among: how many training images were searched.
    """

    distances: Float[np.ndarray, " s"]
    among: int


@dataclasses.dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything `write` shows.

    Pictures that are given are shown: whoever may not show them leaves them out.

    Attributes:
      title: the page's title, e.g. the experiment's name.
      metrics: the whole of metrics.json.
      attacks: in the order to show them.
      members, nonmembers: pictures of either group; as many as are given are searched
        for the sample's nearest member, a few are shown.
      samples: pictures the target generated.
      perturbed: noised pictures at chosen steps.
      nearest: the samples' distances to training images, where pictures are left out.
      training: records of the training run with "step" and "loss".
      facts: sections of key/value pairs: split, seeds, versions, device, ...
      warnings: what makes the numbers less trustworthy, shown before them.
    """

    title: str
    metrics: Mapping[str, Any]
    attacks: tuple[AttackContent, ...]
    members: Pictures | None = None
    nonmembers: Pictures | None = None
    samples: Pictures | None = None
    perturbed: PerturbedContent | None = None
    nearest: NearestContent | None = None
    training: Sequence[Mapping[str, Any]] = ()
    facts: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def titles(self) -> dict[str, str]:
        """Attack name to title, no two alike."""
        return distinct({a.name: a.title for a in self.attacks})

    def with_distinct_titles(self) -> ReportContent:
        """The same with no two attacks of one title."""
        titles = self.titles
        named = (dataclasses.replace(a, title=titles[a.name]) for a in self.attacks)
        return dataclasses.replace(self, attacks=tuple(named))
