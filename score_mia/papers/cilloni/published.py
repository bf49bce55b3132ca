"""What Cilloni, Fleming & Walter 2023 (2311.09355) report, as far as it is known here.

For looking up, never for computing with. The text was not to be had: this is from its
abstract and a summary, which give one value and some orders, and no table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

OBSERVERS = ("one-shot", "progressive", "complete")
"""What is compared: the last image with the candidate, each with the one before it, or
all with the candidate."""

DISTANCES = ("psnr", "dssim", "rmse", "feature vector")
"""What the images are compared by."""

CLASSIFIERS = (
    *("logistic regression", "support vector machine", "decision tree"),
    *("naive Bayes", "nearest neighbours"),
)
"""What tells members from non-members by the distances."""


@dataclasses.dataclass(frozen=True)
class Best:
    """The best attack.

    Attributes:
      target, data: what was attacked, and where its images come from.
      auc: of the ROC, a share of 1, rounded by them.
      observer, distance: of `OBSERVERS` and `DISTANCES`.
      printed: where.
      certain: False where the summary alone says it.
    """

    target: str
    data: str
    auc: float
    observer: str
    distance: str
    printed: str
    certain: bool


BEST = Best(
    "Stable Diffusion 2",
    "LAION-5B, filtered",
    0.60,
    "complete",
    "psnr",
    "abstract (the AUC); a summary of the text (the rest)",
    certain=False,
)


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is said without a number.

    Attributes:
      said: what.
      certain: False where the summary is not clear about it.
    """

    said: str
    certain: bool


FINDINGS: Mapping[str, Finding] = {
    "observer": Finding("the complete observer is the best for every distance", True),
    "distance": Finding("PSNR is the best distance", True),
    "blur": Finding("a box blur of radius 1 lowers every result", True),
    "access": Finding(
        "black box and grey box trade queries for success; which of them is the better "
        "attack is not clear",
        False,
    ),
}
"""Short name -> finding."""

UNKNOWN = (
    *("strength", "steps", "prompt", "seeds", "images", "classifier settings"),
    "rates at low false-positive rates",
)
"""What would be needed for a repetition, and is not known here."""
