"""The numbers of Dubinski et al. 2023 (2306.12983), and of those who repeated them.

For looking up, never for computing with: rates are means over samples of the same
images (`counting`), at the time step that is best for that very mean. The paper's final
tables were not to be had; what is here comes from its released code and lists, and from
other papers. TPRs are in per cent, at 1 % FPR; AUCs are shares of 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class DataSet:
    """LAION-mi as it is released: addresses and captions.

    Attributes:
      members, nonmembers: rows of the two lists.
      distance: least CLIP distance (ViT-L/14, unit norm) of a non-member to any image
        that may be a member.
      neighbours: asked for each non-member.
      alive: of 25 addresses that others asked in 2026, how many gave an image.
    """

    members: int
    nonmembers: int
    distance: float
    neighbours: int
    alive: int


DATA_SET = DataSet(13_396, 26_874, 0.5, 40, 0)

DUPLICATES: Mapping[float, int] = {0.1: 100, 0.2: 96, 0.3: 64, 0.4: 19, 0.5: 8}
"""Upper end of a bin of CLIP distances, 0.1 wide -> of 100 pairs, the true duplicates;
looked at by hand, in the released analysis."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A column of the released table `attack_performance.tex`.

    Attributes:
      number: the table's own; it does not say which setting that is.
      pixel, latent, model: best mean TPR of each loss, over time steps.
      setting: name in `settings.SETTINGS`, where it is known.
    """

    number: int
    pixel: float
    latent: float
    model: float
    setting: str | None = None


SETTINGS = (
    Setting(1, 1.58, 1.55, 1.78, "partial"),
    Setting(2, 1.52, 1.15, 1.55),
    Setting(3, 1.47, 1.00, 1.31),
    Setting(4, 1.68, 1.16, 1.68),
    Setting(5, 1.31, 1.16, 1.52),
    Setting(6, 1.49, 1.41, 1.47),
    Setting(7, 1.66, 1.40, 1.64),
    Setting(8, 1.62, 1.39, 1.64),
    Setting(9, 1.45, 1.67, 1.64),
    Setting(10, 1.70, 1.26, 1.40),
    Setting(11, 1.41, 1.06, 1.21),
    Setting(12, 1.49, 0.99, 1.51),
    Setting(13, 1.48, 0.97, 1.17),
    Setting(14, 1.41, 1.07, 1.22),
    Setting(15, 1.52, 1.11, 1.06),
)
"""All near the 1 % of a guess. The table is older than the code beside it, which has 18
settings."""


@dataclasses.dataclass(frozen=True)
class Recollected:
    """A value of the paper's final table, from memory: not to be cited.

    Attributes:
      setting: name in `settings.SETTINGS`.
      tpr, sd: mean and sd over samples, per cent.
      certain: False.
    """

    setting: str
    tpr: float
    sd: float
    certain: bool = False


RECOLLECTED = (
    Recollected("baseline", 1.9, 0.6),
    Recollected("reversed_noising", 2.5, 0.7),
)


@dataclasses.dataclass(frozen=True)
class Repetition:
    """An attack on Stable Diffusion 1.x with LAION-mi, by others.

    Attributes:
      attack: its name there.
      auc: share of 1.
      tpr: per cent, at 1 % FPR.
      asr: per cent; None where not printed.
      images: members, and as many non-members.
      printed: where.
    """

    attack: str
    auc: float
    tpr: float
    asr: float | None
    images: int
    printed: str


_COPYMARK, _MOFIT = "CopyMark", "MoFit"

REPETITIONS = (
    Repetition("SecMI", 0.523, 1.28, None, 2500, _COPYMARK),
    Repetition("PIA", 0.535, 1.28, None, 2500, _COPYMARK),
    Repetition("PFAMI", 0.510, 1.56, None, 2500, _COPYMARK),
    Repetition("Loss", 0.507, 1.6, 55.0, 500, _MOFIT),
    Repetition("SecMI", 0.533, 2.9, 53.6, 500, _MOFIT),
    Repetition("PIA", 0.496, 2.0, 54.8, 500, _MOFIT),
    Repetition("PFAMI", 0.517, 0.75, 52.8, 500, _MOFIT),
    Repetition("CLiD", 0.586, 4.6, 56.9, 500, _MOFIT),
)


@dataclasses.dataclass(frozen=True)
class Shift:
    """How far members and non-members lie apart, as CopyMark's repository measures it.

    Attributes:
      frechet: distance of CLIP features.
      mahalanobis: distance of their means.
      blind_tpr, blind_fpr: of a classifier that never sees the model, at the threshold
        that was chosen on other images; None where not noted.
    """

    frechet: float
    mahalanobis: float
    blind_tpr: float | None
    blind_fpr: float | None


SHIFTS: Mapping[str, Shift] = {
    "LAION-mi": Shift(0.059, 1.39, 0.459, 0.394),
    "LAION against COCO": Shift(0.249, 7.07, None, None),
}
"""Members and non-members -> their distance."""


@dataclasses.dataclass(frozen=True)
class Control:
    """The fine-tuned model that leaks, with which LAION-mi is contrasted.

    Attributes:
      members, nonmembers: of the Pokémon data.
      steps: of the checkpoints that are attacked; 0 is the model before.
      seed: of the split.
    """

    members: int
    nonmembers: int
    steps: tuple[int, ...]
    seed: int


CONTROL = Control(
    633, 200, (0, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000), seed=2137
)
"""Its TPRs are in a picture, and are not known here; "strongly", the text says."""
