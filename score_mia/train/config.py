"""`TrainConfig`: every choice of a training run, checked when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from score_mia.check import at_least, one_of, positive, require, within
from score_mia.clock import CLOCKS, Clock
from score_mia.train.accounting import ACCOUNTANTS, ADJACENCIES
from score_mia.train.loss import Objective

CONTROLS = ("", "clip_only", "noise_only")

# Choices that change how a run is cut up, kept or told about, never what it computes.
_OPERATIONAL = (
    *("steps", "log_every", "checkpoint_every", "snapshot_every"),
    *("steps_per_call", "accumulate", "fsdp"),
)
# Fields younger than the first kept runs: told where they are set.
_LATER = ("cutout", "dp", "condition_dropout", "decay", "own_law")


@dataclasses.dataclass(frozen=True)
class Privacy:
    """How training is made private (DP-SGD), or half of it, as a control.

    The guarantee is for one image, at `delta`, of everything that a run ever tells of
    its parameters. It is stated in full in every report (`train.accounting`).

    Attributes:
      delta: of (epsilon, delta); at most 1 / (2 members) means something.
      epsilon: the noise is calibrated to it, for the config's steps; or give
      noise_multiplier: noise over `clip`, and have epsilon accounted.
      clip: largest norm of one image's gradient.
      rate: probability of each image to be in a batch; None for batch / members.
      capacity: longest batch, the shape that is compiled; None for one whose truncation
        costs no measurable epsilon (`accounting.capacity`).
      accountant: "pld" or "rdp", for the calibration; reports print both.
      adjacency: "zero_out", "replace", or, for comparison with papers only,
        "add_or_remove" (`accounting.ADJACENCIES` says why).
      control: "" for private training; "clip_only" or "noise_only" for the two halves
        of the mechanism, which guarantee nothing by themselves.
      microbatch: images whose gradients are held at once; None for 8 on CPU and 32 on
        accelerators.
    """

    delta: float
    epsilon: float | None = None
    noise_multiplier: float | None = None
    clip: float = 1.0
    rate: float | None = None
    capacity: int | None = None
    accountant: str = "pld"
    adjacency: str = "zero_out"
    control: str = ""
    microbatch: int | None = None

    def __post_init__(self) -> None:
        require(
            (self.epsilon is None) != (self.noise_multiplier is None),
            f"dp.epsilon={self.epsilon!r}, dp.noise_multiplier={self.noise_multiplier}",
            "are not one of the two",
            "give either the epsilon to calibrate to or the noise",
        )
        for name in ("epsilon", "noise_multiplier", "clip", "rate"):
            if getattr(self, name) is not None:
                positive(f"dp.{name}", getattr(self, name))
        if self.rate is not None:
            within("dp.rate", self.rate, 0.0, 1.0)
        ok = bool(0 < self.delta < 1)
        remedy = "give 1 / (2 members) or less"
        require(ok, f"dp.delta={self.delta!r}", "is not between 0 and 1", remedy)
        for name in ("capacity", "microbatch"):
            if getattr(self, name) is not None:
                _whole(f"dp.{name}", getattr(self, name), 1)
        one_of("dp.accountant", self.accountant, ACCOUNTANTS)
        one_of("dp.adjacency", self.adjacency, ADJACENCIES)
        one_of("dp.control", self.control, CONTROLS)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How a target is trained. The defaults are those of Song et al. (2021).

    Attributes:
      steps: training steps.
      batch: images a step.
      seed: of the initial weights, the order of images, times, noise and dropout.
      learning_rate, beta1, beta2, epsilon: Adam's (Kingma & Ba 2015).
      weight_decay: L2 penalty added to the gradient (not decoupled).
      warmup: steps over which the learning rate climbs from 0; 0 for none.
      decay: steps, the last ones, over which the learning rate falls to 0; 0 for none.
      clip: largest global norm of the gradient; None for no clipping. Private training
        does not look at it: there `dp.clip` bounds the gradient of each image.
      ema: decay of the moving average of the parameters.
      ema_warmup: use min(ema, (1 + n) / (10 + n)) at step n, so that the average
        forgets the initial weights.
      flip: mirror each drawn image with probability one half.
      cutout: side in pixels of a grey square put somewhere into each drawn image.
      weighting, reduce_mean, time_law, own_law, draws, condition_dropout: see
        `Objective`.
      log_every: steps per line of train.jsonl.
      checkpoint_every: steps between training states; a kill loses fewer than these.
      snapshot_every: keep the target every so many steps as well; None for never.
      steps_per_call: steps in one program; None for 1 on CPU (where convolutions in
        loops are slow) and 10 on accelerators.
      accumulate: parts of a batch whose gradients are computed one after the other and
        averaged: the same step, with the memory of one part.
      fsdp: whether parameters, their average and Adam's moments are dealt out over the
        devices, each of which then holds a share of every large array, and not whole
        on each: for models whose state does not fit on one.
      dp: differential privacy, None for none; `batch` is then the expected number of
        images a step.
    """

    steps: int
    batch: int = 32
    seed: int = 0
    learning_rate: float = 2e-4
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 5000
    decay: int = 0
    clip: float | None = 1.0
    ema: float = 0.9999
    ema_warmup: bool = True
    flip: bool = True
    cutout: int = 0
    weighting: str = "noise"
    reduce_mean: bool = True
    time_law: str | None = None
    own_law: float = 0.0
    draws: int = 1
    condition_dropout: float = 0.0
    log_every: int = 100
    checkpoint_every: int = 1000
    snapshot_every: int | None = None
    steps_per_call: int | None = None
    accumulate: int = 1
    fsdp: bool = False
    dp: Privacy | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "draws", "log_every", "checkpoint_every"):
            _whole(name, getattr(self, name), 1)
        for name in ("seed", "warmup", "decay", "cutout"):
            _whole(name, getattr(self, name), 0)
        for name in ("snapshot_every", "steps_per_call"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1)
        for name in ("learning_rate", "epsilon"):
            positive(name, getattr(self, name))
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name}={value!r}", "is outside [0, 1)", "try 0.9")
        ok = self.decay <= self.steps
        problem = f"is longer than the {self.steps} steps"
        require(ok, f"decay={self.decay}", problem, "give fewer, or 0 for none")
        within("ema", self.ema, 0.0, 1.0)
        at_least("weight_decay", self.weight_decay, 0.0)
        if self.clip is not None:
            positive("clip", self.clip)
        ok = self.dp is None or isinstance(self.dp, Privacy)
        remedy = "give dp=dict(epsilon=..., delta=...)"
        require(ok, f"dp={self.dp!r}", "is no privacy config", remedy)
        self._check_cut()
        _ = self.objective

    def _check_cut(self) -> None:
        """Refuse a way to cut up a step that it does not have."""
        _whole("accumulate", self.accumulate, 1)
        parts = f"accumulate={self.accumulate}"
        ok = self.batch % self.accumulate == 0
        problem = f"does not divide the batch of {self.batch}"
        require(ok, parts, problem, "give a divisor of train.batch")
        private = self.dp is not None
        ok = self.accumulate == 1 or not private
        problem = "is not for private training, which adds up clipped gradients itself"
        require(ok, parts, problem, "set dp.microbatch instead")
        problem = "is not for private training, which holds the parameters whole"
        require(not (self.fsdp and private), "fsdp=True", problem, "leave it out")

    @staticmethod
    def of(fields: Mapping[str, Any]) -> TrainConfig:
        """The config that `dataclasses.asdict` took these fields from, by way of JSON.

        Raises:
          UserError, TypeError: fields or values that this version does not know.
        """
        private = fields.get("dp")
        private = None if private is None else Privacy(**private)
        known: dict[str, Any] = {**fields, "dp": private}
        return TrainConfig(**known)

    @property
    def objective(self) -> Objective:
        """The loss that is minimised."""
        names = (field.name for field in dataclasses.fields(Objective))
        return Objective(**{name: getattr(self, name) for name in names})

    def check_shape(self, shape: tuple[int, int, int]) -> None:
        """Refuse what images of this shape (h, w, c) cannot be trained with.

        Raises:
          UserError: a cutout as large as the image leaves nothing of it.
        """
        side = min(shape[:2])
        problem = f"covers images of {shape[0]}x{shape[1]} pixels whole"
        remedy = f"give less than {side}, or 0 for none"
        require(self.cutout < side, f"train.cutout={self.cutout}", problem, remedy)

    def record(self, clock: Clock) -> dict[str, Any]:
        """All fields as plain values, with the law of times that was trained by.

        Args:
          clock: the process's own, whose law it is where the config names none; None
            stays for the law of a user's own clock.
        """
        own = clock.law if CLOCKS.get(clock.law) == clock else None
        return {**dataclasses.asdict(self), "time_law": self.time_law or own}

    def science(self, clock: Clock) -> dict[str, Any]:
        """Of `record`, what decides the parameters after a given number of steps."""
        told = self.record(clock)
        told["time_law"] = told["time_law"] or repr(clock)
        for name in (*_OPERATIONAL, *(f for f in _LATER if not told[f])):
            del told[name]
        if self.dp is not None:
            del told["dp"]["microbatch"]
        calibrated = self.dp is not None and self.dp.epsilon is not None
        if calibrated or self.decay:
            told["steps"] = self.steps  # the noise, or the decay, is made for so many
        return told


def _whole(name: str, value: Any, low: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    require(whole, f"{name}={value!r}", "is no whole number", "give an integer")
    at_least(name, value, low)
