"""The numbers that Pang & Wang 2023 (2312.08207, NDSS 2025) print.

For looking up, never for computing with: they were measured on other images and other
trainings, a rate "at 1 % FPR" is that of the nearest point of the ROC, and the released
evaluation keeps the epoch of its classifier that is best on the target itself. All are
shares of 1. The numbers of the paper's tables were not noted when it was read, so
`printed` says what a table shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

SCENARIOS = ("I", "II", "III", "IV")
"""I, II: half of the shadow model's data are members; III, IV: none. II, IV: the
attacker has no caption, and makes one."""

DATA = ("CelebA-Dialog", "WIT", "COCO")
"""The paper's data sets."""

RULES = ("threshold", "distribution", "classifier")
"""The paper's decision rules."""


@dataclasses.dataclass(frozen=True)
class Rate:
    """One attack on one target.

    Attributes:
      data: of `DATA`.
      scenario: of `SCENARIOS`; empty where it has none.
      attack: what is measured: a rule, an encoder, a shadow model.
      asr, auc, tpr: attack success rate, AUC, TPR at 1 % FPR; None where not printed.
      certain: False where a value is rounded in the text, or was taken from it with
        doubt about what it belongs to.
    """

    data: str
    scenario: str
    attack: str
    asr: float | None = None
    auc: float | None = None
    tpr: float | None = None
    certain: bool = True


@dataclasses.dataclass(frozen=True)
class RateTable:
    """Rows that are printed together.

    Attributes:
      printed: where.
      rows: its attacks.
    """

    printed: str
    rows: tuple[Rate, ...]

    def find(self, data: str, scenario: str, attack: str) -> Rate | None:
        """The row of a target and an attack, if it is printed."""
        wanted = (data, scenario, attack)
        found = (r for r in self.rows if (r.data, r.scenario, r.attack) == wanted)
        return next(found, None)


def _aucs(printed: str, rows: Mapping[tuple[str, str], tuple[float, ...]]) -> RateTable:
    """A table of AUCs: (data, attack) -> those of Attacks I to IV."""
    made = (
        Rate(data, scenario, attack, auc=auc)
        for (data, attack), aucs in rows.items()
        for scenario, auc in zip(SCENARIOS, aucs, strict=True)
    )
    return RateTable(printed, tuple(made))


def _triples(
    data: str, attack: str, *rows: tuple[float, float, float]
) -> tuple[Rate, ...]:
    pairs = zip(SCENARIOS, rows, strict=True)
    return tuple(Rate(data, scenario, attack, *row) for scenario, row in pairs)


_DEIT = "DeiT, classifier"
_CELEBA, _WIT, _COCO = DATA

RATE_TABLES: Mapping[str, RateTable] = {
    "baseline": RateTable(
        "the comparison with earlier black-box attacks",
        (
            *_triples(
                _CELEBA,
                _DEIT,
                (0.85, 0.93, 0.53),
                (0.88, 0.93, 0.60),
                (0.87, 0.94, 0.54),
                (0.87, 0.93, 0.57),
            ),
            Rate(_CELEBA, "", "earlier, first", 0.52, 0.50, 0.01),
            Rate(_CELEBA, "", "earlier, second", 0.51, 0.49, 0.01),
        ),
    ),
    "data": RateTable(
        "the other data sets, DeiT and the classifier",
        (
            *_triples(
                _WIT,
                _DEIT,
                (0.79, 0.84, 0.22),
                (0.78, 0.85, 0.15),
                (0.77, 0.83, 0.29),
                (0.75, 0.83, 0.25),
            ),
            *_triples(
                _COCO,
                _DEIT,
                (0.85, 0.93, 0.61),
                (0.85, 0.92, 0.56),
                (0.83, 0.89, 0.30),
                (0.69, 0.74, 0.16),
            ),
        ),
    ),
    "rules": _aucs(
        "the three rules, cosine similarity",
        {
            (_CELEBA, "threshold"): (0.88, 0.83, 0.82, 0.82),
            (_CELEBA, "distribution"): (0.93, 0.93, 0.94, 0.88),
            (_CELEBA, "classifier"): (0.93, 0.93, 0.94, 0.93),
            (_WIT, "threshold"): (0.69, 0.67, 0.69, 0.66),
            (_WIT, "distribution"): (0.84, 0.82, 0.70, 0.70),
            (_WIT, "classifier"): (0.82, 0.82, 0.79, 0.79),
            (_COCO, "threshold"): (0.84, 0.82, 0.84, 0.74),
            (_COCO, "distribution"): (0.82, 0.81, 0.72, 0.67),
            (_COCO, "classifier"): (0.86, 0.91, 0.83, 0.82),
        },
    ),
    "kandinsky": _aucs(
        "a shadow model of another family, Kandinsky 2.2",
        {
            (_CELEBA, "Kandinsky"): (0.87, 0.86, 0.86, 0.85),
            (_WIT, "Kandinsky"): (0.81, 0.84, 0.84, 0.83),
            (_COCO, "Kandinsky"): (0.89, 0.91, 0.89, 0.74),
        },
    ),
    # Of the captioner, the text gives a fall for each data set; which of the values
    # are II's and which IV's is read from their order.
    "plain captioner": RateTable(
        "a captioner that is not fine-tuned",
        (
            Rate(_CELEBA, "II", "plain captioner", auc=0.6, certain=False),
            Rate(_CELEBA, "IV", "plain captioner", auc=0.6, certain=False),
            Rate(_WIT, "II", "plain captioner", auc=0.70, certain=False),
            Rate(_WIT, "IV", "plain captioner", auc=0.56, certain=False),
            Rate(_COCO, "II", "plain captioner", auc=0.79, certain=False),
            Rate(_COCO, "IV", "plain captioner", auc=0.65, certain=False),
        ),
    ),
    "best": RateTable(
        "the encoders", (Rate(_CELEBA, "I", "BEiT, classifier", auc=0.95),)
    ),
}
"""Short name -> table."""


@dataclasses.dataclass(frozen=True)
class Private:
    """DP-SGD on COCO (C = 1, delta = 1e-3, sampling rate 4 / n, 500 epochs).

    Attributes:
      members: n, the images that the target is fine-tuned on.
      epsilon: None without privacy.
      aucs: of Attacks I to IV. With privacy, TPRs at 1 % FPR are 0.01 or less.
    """

    members: int
    epsilon: float | None
    aucs: tuple[float, float, float, float]


PRIVATE = (
    Private(100, None, (0.911, 0.909, 0.893, 0.813)),
    Private(100, 1.0, (0.646, 0.654, 0.498, 0.524)),
    Private(100, 10.0, (0.641, 0.644, 0.522, 0.522)),
    Private(200, None, (0.863, 0.812, 0.728, 0.800)),
    Private(200, 1.0, (0.632, 0.676, 0.502, 0.524)),
)
"""The private images look like those of the model before its fine-tuning."""


@dataclasses.dataclass(frozen=True)
class Range:
    """Values that the text gives by their ends.

    Attributes:
      about: of what.
      low, high: the ends.
      printed: where.
      certain: see `Rate`.
    """

    about: str
    low: float
    high: float
    printed: str = "text"
    certain: bool = True


_RERUN = "Noise as a Probe (2601.21628), its comparison"

RANGES: Mapping[str, Range] = {
    "community": Range("AUC, community models, 60 images, 3 queries", 0.86, 0.91),
    "1000 members": Range("AUC with 1,000 members", 0.60, 0.65, certain=False),
    "rerun, threshold": Range("AUC, by other authors", 0.566, 0.704, _RERUN),
    "rerun, distribution": Range("AUC, by other authors", 0.550, 0.650, _RERUN),
    "rerun, classifier": Range("AUC, by other authors", 0.607, 0.838, _RERUN),
}
"""Short name -> range. The repeated classifier's mean AUC is 0.703, its mean TPR at
1 % FPR 0.111, on four fine-tuned models that were trained less than the paper's."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How a target is fine-tuned from Stable Diffusion 1.5; None where unsaid.

    The paper and its released code differ, and an archive of theirs holds a checkpoint
    of 25,000 steps, whereas 500 epochs of 100 images, 16 a step, are 3,125. How long
    the attacked models were trained is not known.

    Attributes:
      members: images.
      epochs, steps: length, in either unit.
      side: of an image, in pixels.
      batch, accumulation: images a pass, passes a step.
      learning_rate: Adam's; `schedule` says how it falls.
      lora: whether low-rank adapters are trained, not the whole network.
    """

    members: int | None
    epochs: int | None
    steps: int | None
    side: int
    batch: int
    accumulation: int
    learning_rate: float
    schedule: str | None
    lora: bool | None


TRAININGS: Mapping[str, Training] = {
    "paper": Training(100, 500, None, 512, 4, 4, 5e-5, None, None),
    "released command": Training(None, None, 62_500, 512, 4, 4, 1e-4, "cosine", True),
}
"""Sampling takes 30 steps in both; from 30 to 200, the paper sees no difference."""
