"""A target that is trained here, and which of its snapshots is attacked."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from score_mia.check import one_of
from score_mia.checkpoint import describe, load_target, place
from score_mia.models.protocol import Order
from score_mia.models.reading import origin
from score_mia.spec import names
from score_mia.train.config import TrainConfig
from score_mia.train.loop import train

_METRICS = {"best_kid": "kid", "best_fd": "frechet", "best_fid": "frechet"}


@dataclasses.dataclass(frozen=True)
class Trained:
    """A target that is trained on the members of the split.

    Attributes:
      train: how; the config's section `train`.
      snapshot: "last"; the training step of a snapshot; or that whose samples come
        closest to the members: "best_kid", "best_fd" (by the Fréchet distance) or
        "best_fid" (by that of FID's own encoder, as Hu & Pang 2023 chose theirs).
      start: workdir, or a target's own folder, whose parameters training begins with:
        fine-tuning; None for fresh ones.
    """

    train: TrainConfig
    snapshot: str | int = "last"
    start: str | None = None

    def __post_init__(self) -> None:
        if not str(self.snapshot).isdigit():
            one_of("target.snapshot", str(self.snapshot), ("last", *_METRICS))

    @property
    def begins_with(self) -> str | None:
        """Digest of the parameters that training begins with; None for fresh ones."""
        if self.start is None:
            return None
        return describe(place(self.start))["digest"]["ema"]

    @property
    def metric(self) -> str | None:
        """The distance by which a snapshot is chosen, if one is."""
        return _METRICS.get(str(self.snapshot))

    @property
    def step(self) -> int | None:
        """The step that the config names, if it does."""
        return int(self.snapshot) if str(self.snapshot).isdigit() else None

    @property
    def steps(self) -> tuple[int, ...]:
        """Training steps whose targets are kept, the last one's included."""
        every = self.train.snapshot_every
        kept = range(every, self.train.steps, every) if every else ()
        return (*kept, self.train.steps)

    def make(self, folder: Path, order: Order) -> int:
        """Train it, or go on; one that was imported into the folder stays."""
        if origin(folder) is None:
            start, about = None, order.provenance
            if self.start is not None:
                start = load_target(place(self.start), allow=names(order.spec)).tree
                about = {**about, "start": self.begins_with}
            train(
                order.spec,
                order.images(),
                self.train,
                folder,
                conditions=order.conditions(),
                provenance=about,
                start=start,
            )
        return self.train.steps
