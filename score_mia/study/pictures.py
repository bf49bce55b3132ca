"""The paper's pictures: noised images (Fig. 3) and samples (Figs. 9 and 10)."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from score_mia.auditing.plan import Plan
from score_mia.check import at_least, require
from score_mia.files import load_npz
from score_mia.report import figure
from score_mia.report.holds import ASK
from score_mia.report.picture import unit_pictures
from score_mia.report.table import csv_text
from score_mia.study.clock import Steps, log_snr_at, time_text, times_on
from score_mia.study.exhibit import Built, Cell, Exhibit, Row, Strip, Table
from score_mia.study.finished import Finished


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

    def check_audit(self, name: str, plan: Plan) -> None:
        require(
            bool(self.times) != bool(self.log_snr),
            f"times={self.times!r}, log_snr={self.log_snr!r}",
            "are not one of the two",
            "give the steps either as times or as log_snr",
        )
        if self.times:
            times_on(plan.sde, self.steps, name)

    def build(self, audits: Sequence[Finished]) -> Built:
        strips, rows = [], []
        for audit in audits:
            if not audit.plan.report.pictures:
                continue
            sde = audit.plan.sde
            times = times_on(sde, self.steps, audit.name)
            levels = log_snr_at(sde, np.asarray(times))
            labels = tuple(
                f"t = {time_text(sde, t)}\nlog-SNR {level:.1f}"
                for t, level in zip(times, levels, strict=True)
            )
            ids = audit.split.members[: self.pictures]
            for number, pictures in enumerate(_noised(audit, ids, times), 1):
                strips.append(Strip(audit.label, pictures, labels))
                rows += [
                    (audit.name, audit.label, number, t, float(level))
                    for t, level in zip(times, levels, strict=True)
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


def _noised(
    audit: Finished, ids: np.ndarray, times: Sequence[float]
) -> list[np.ndarray]:
    """For each image its noised versions [k, h, w, c], one noise for all times."""
    sde, codec = audit.plan.sde, audit.plan.model.codec
    x = codec.encode(jnp.asarray(audit.work.source.images(ids)))
    noise = jax.random.normal(jax.random.key(audit.plan.seed), x.shape)
    shown = []
    for t in times:
        scale = jnp.sqrt(sde.alpha(t) ** 2 + sde.std(t) ** 2)
        noisy = codec.decode(sde.perturb(x, t, noise) / scale)
        shown.append(np.clip(np.asarray(noisy), 0.0, 1.0))
    return [unit_pictures(row) for row in np.stack(shown, axis=1)]


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

    def check_audit(self, name: str, plan: Plan) -> None:
        require(
            plan.report.samples >= self.count,
            f"audit {name!r}",
            f"draws {plan.report.samples} samples and {self.count} are to be shown",
            "raise its report.samples, or lower the exhibit's count",
        )

    def build(self, audits: Sequence[Finished]) -> Built:
        strips, rows = [], []
        for audit in audits:
            if not audit.plan.report.pictures:
                continue
            path = audit.folder / "target" / "samples.npz"
            kept = load_npz(path, ("images", "target"))
            images = unit_pictures(kept["images"][: self.count])
            for start in range(0, len(images), self.columns):
                name = audit.label if start == 0 else ""
                strips.append(Strip(name, images[start : start + self.columns]))
            sampler = audit.plan.config["sampler"]["name"]
            about = (sampler, audit.plan.seed, str(kept["target"]))
            rows += [(audit.name, audit.label, i, *about) for i in range(len(images))]
        return _built(
            audits,
            f"The first {self.count:,} samples of each target, none selected.",
            csv_text(_SAMPLES_CSV, rows),
            "Samples of the targets.",
            strips,
        )


_SAMPLES_CSV = ("audit", "model", "sample", "sampler", "seed", "target_digest")


def _built(
    audits: Sequence[Finished],
    caption: str,
    csv: str,
    alt: str,
    strips: Sequence[Strip],
) -> Built:
    """The pictures of audits that ask for them, and in words who does not."""
    silent = [a.label for a in audits if not a.plan.report.pictures]
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
    return Built(caption, csv, alt, figure=_sheet(strips), strips=tuple(strips))


def _sheet(strips: Sequence[Strip]) -> Any:
    named = [(textwrap.fill(s.name, 13), s.pictures) for s in strips]
    return figure.sheet(named, [s.labels for s in strips if s.labels])
