"""Pictures: noised images (Fig. 3 of Hu & Pang 2023) and samples (Figs. 9 and 10)."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from score_mia.check import at_least, require
from score_mia.files import load_npz
from score_mia.report import draw
from score_mia.report.exhibits.audit import Audit, Planned
from score_mia.report.exhibits.base import Built, Cell, Exhibit, Row, Strip, Table
from score_mia.report.exhibits.steps import Steps
from score_mia.report.picture import ASK, unit_pictures
from score_mia.report.table import csv_text


@dataclasses.dataclass(frozen=True)
class Perturbed(Exhibit):
    """Members with the noise of chosen steps (Fig. 3 of Hu & Pang 2023).

    Attributes:
      times, log_snr: which steps, see `Steps`; any that the process has.
      pictures: how many members of each audit.
    """

    times: Mapping[str, Any] | tuple[Any, ...] = ()
    log_snr: tuple[float, ...] = ()
    pictures: int = 1

    heading: ClassVar[str] = "What the network sees"

    def __post_init__(self) -> None:
        at_least("pictures", self.pictures, 1)

    @property
    def steps(self) -> Steps:
        """The steps shown."""
        return Steps(self.times, self.log_snr)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        self.steps.require_one()
        planned.times(self.steps, name)

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        strips, rows = [], []
        for audit in audits:
            planned = audit.planned
            if not planned.pictures:
                continue
            times = planned.times(self.steps, audit.name)
            noised = planned.noised(audit.folder, times, self.pictures)
            for number, pictures in enumerate(noised.pictures, 1):
                strips.append(
                    Strip(audit.label, unit_pictures(pictures), noised.labels)
                )
                rows += [
                    (audit.name, audit.label, number, t, float(level))
                    for t, level in zip(noised.times, noised.log_snr, strict=True)
                ]
        return _built(
            audits,
            "Members after the noise of the step named with each was added, seen with "
            "the scale of the signal brought back. A picture that people can no longer "
            "recognise may still give its membership away.",
            csv_text(("audit", "model", "picture", "time", "log_snr"), rows),
            "Pictures with growing noise.",
            strips,
        )


@dataclasses.dataclass(frozen=True)
class Samples(Exhibit):
    """What the targets generate (Figs. 9 and 10 of Hu & Pang 2023).

    Attributes:
      count: samples of each audit, the first ones it drew; its `report.samples` must
        be as many.
      columns: samples side by side.
    """

    count: int = 16
    columns: int = 8

    heading: ClassVar[str] = "Samples of the targets"

    def __post_init__(self) -> None:
        at_least("count", self.count, 1)
        at_least("columns", self.columns, 1)

    def check_audit(self, name: str, planned: Planned) -> None:
        """Refuse what the audit will not have."""
        require(
            planned.samples >= self.count,
            f"audit {name!r}",
            f"draws {planned.samples} samples and {self.count} are to be shown",
            "raise its report.samples, or lower the exhibit's count",
        )

    def build(self, audits: Sequence[Audit]) -> Built:
        """Its form, caption and numbers."""
        strips, rows = [], []
        for audit in audits:
            planned = audit.planned
            if not planned.pictures:
                continue
            path = audit.folder / "target" / "samples.npz"
            kept = load_npz(path, ("images", "target"))
            images = unit_pictures(kept["images"][: self.count])
            for start in range(0, len(images), self.columns):
                name = audit.label if start == 0 else ""
                strips.append(Strip(name, images[start : start + self.columns]))
            made = (planned.sampler, planned.seed, str(kept["target"]))
            rows += [(audit.name, audit.label, i, *made) for i in range(len(images))]
        return _built(
            audits,
            f"The first {self.count:,} samples of each target, none selected.",
            csv_text(_SAMPLES_CSV, rows),
            "Samples of the targets.",
            strips,
        )


_SAMPLES_CSV = ("audit", "model", "sample", "sampler", "seed", "target_digest")


def _built(
    audits: Sequence[Audit], caption: str, csv: str, alt: str, strips: Sequence[Strip]
) -> Built:
    """The pictures of audits that ask for them, and in words who does not."""
    silent = [a.label for a in audits if not a.planned.pictures]
    if silent:
        left_out = (
            f"Pictures of {', '.join(silent)} are left out: real images, and samples, "
            f"which may repeat them, are shown only where an audit's config asks for "
            f"them ({ASK})."
        )
        caption = f"{caption} {left_out}" if strips else left_out
    if not strips:
        rows = tuple(
            Row((Cell(name), Cell("left out", known=False))) for name in silent
        )
        return Built(caption, csv, alt, table=Table(("Target", "Pictures"), rows))
    named = [(textwrap.fill(s.name, 13), s.pictures) for s in strips]
    sheet = draw.sheet(named, [s.labels for s in strips if s.labels])
    return Built(caption, csv, alt, figure=sheet, strips=tuple(strips))
