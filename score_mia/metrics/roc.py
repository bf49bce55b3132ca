"""The exact ROC of membership scores. Members are the positive class, always.

A larger score means "more member-like". Nothing here picks the ROC point *nearest* to
a false positive rate, or scans a grid of thresholds: both may exceed the rate that the
number claims. Everything is counted on the distinct scores themselves.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from score_mia.check import finite, require, within

FPRS = (0.1, 0.01, 0.001, 0.0001)
"""False positive rates that every audit reports."""


@dataclasses.dataclass(frozen=True, eq=False)
class Roc:
    """Every step of the ROC, from (0, 0) to (1, 1).

    Attributes:
      fpr: [P] share of non-members at or above the threshold.
      tpr: [P] share of members at or above the threshold.
      thresholds: [P] descending; the first is infinite.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    thresholds: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Tally:
    """How many members and non-members hold each distinct score, best score first.

    Attributes:
      scores: [U] distinct scores, descending.
      members: [U] members with that score.
      nonmembers: [U] non-members with that score.
    """

    scores: np.ndarray
    members: np.ndarray
    nonmembers: np.ndarray


def classes(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n1"], Float[np.ndarray, " n0"]]:
    """Split into members' and non-members' scores.

    Raises:
      UserError: a score is NaN or infinite, or a class is empty.
    """
    member = np.asarray(member, bool)
    finite("membership scores", scores)
    for name, count in (
        ("members", np.count_nonzero(member)),
        ("non-members", np.count_nonzero(~member)),
    ):
        problem = f"there are no {name} among {len(scores)} images"
        remedy = "evaluate on images of both classes"
        require(bool(count > 0), "membership scores", problem, remedy)
    return scores[member], scores[~member]


def tally(scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]) -> Tally:
    """Count both classes at each distinct score; raises as `classes` does."""
    inside, outside = classes(scores, member)
    values = np.unique(scores)
    size = len(values)

    def count(group: np.ndarray) -> np.ndarray:
        return np.bincount(np.searchsorted(values, group), minlength=size)[::-1]

    return Tally(values[::-1], count(inside), count(outside))


def roc(scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]) -> Roc:
    """All steps of the ROC, no point dropped; raises as `classes` does.

    Equal to scikit-learn's `roc_curve(..., drop_intermediate=False)`, whose import
    would cost the command line seconds.
    """
    count = tally(scores, member)
    tp = np.concatenate([[0], np.cumsum(count.members)])
    fp = np.concatenate([[0], np.cumsum(count.nonmembers)])
    thresholds = np.concatenate([[np.inf], count.scores])
    return Roc(fp / fp[-1], tp / tp[-1], thresholds)


def allowed(fpr: float, nonmembers: int) -> int:
    """floor(fpr * n): how many false positives a rate permits among n non-members."""
    within("fpr", fpr, 0.0, 1.0)
    # 0.29 * 100 is 28.999999999999996 in floating point, and means 29.
    return min(nonmembers, math.floor(fpr * nonmembers * (1 + 1e-12)))


def resolvable(fpr: float, nonmembers: int) -> bool:
    """Whether n non-members can show this rate at all: fpr * n >= 1."""
    return allowed(fpr, nonmembers) >= 1


def auc_of(
    members: Shaped[np.ndarray, "*b u"], nonmembers: Shaped[np.ndarray, "*b u"]
) -> np.ndarray | np.floating:
    """P(member > non-member) + P(equal) / 2 [*b] from counts in descending order."""
    total1 = members.sum(-1)
    total0 = nonmembers.sum(-1)
    below = total0[..., None] - np.cumsum(nonmembers, -1)
    wins = np.sum(members * (2.0 * below + nonmembers), -1)
    return wins / (2.0 * total1 * total0)


def auc(scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC: P(member > non-member) + P(equal) / 2, exactly counted.

    1 is a perfect attack, 0.5 chance, below 0.5 a score of the wrong sign.
    """
    count = tally(scores, member)
    return float(auc_of(count.members, count.nonmembers))


def balanced_accuracy(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> float:
    """max over thresholds of (TPR + TNR) / 2, in [0.5, 1].

    What the literature calls attack success rate (ASR). The threshold is the best one
    *for these very images*, so the number is optimistic: scores without information
    give 0.5 + 0.44 / sqrt(n) or so with n members and n non-members. Its interval in
    `score_mia.metrics.intervals.evaluate` corrects for that.
    """
    count = tally(scores, member)
    return float(balanced_accuracy_of(count.members, count.nonmembers))


def balanced_accuracy_of(
    members: Shaped[np.ndarray, "*b u"], nonmembers: Shaped[np.ndarray, "*b u"]
) -> np.ndarray | np.floating:
    """Best balanced accuracy [*b] from counts in descending order of the score."""
    tpr = np.cumsum(members, -1) / members.sum(-1, keepdims=True)
    fpr = np.cumsum(nonmembers, -1) / nonmembers.sum(-1, keepdims=True)
    return 0.5 + 0.5 * np.maximum((tpr - fpr).max(-1), 0.0)


def true_positives(count: Tally, ks: Int[np.ndarray, " k"]) -> Int[np.ndarray, " k"]:
    """Members strictly above the (k+1)-th largest non-member score, for each k.

    k = -1 stands for a threshold at infinity and gives 0; k >= the number of
    non-members gives all members.
    """
    found = np.concatenate([[0], np.cumsum(count.members)])
    return found[np.searchsorted(np.cumsum(count.nonmembers), ks, side="right")]


def tprs_of(
    members: Shaped[np.ndarray, "b u"],
    nonmembers: Shaped[np.ndarray, "b u"],
    ks: Int[np.ndarray, " k"],
) -> Float[np.ndarray, "b k"]:
    """The share of `true_positives`, row by row of counts in descending order."""
    found = np.cumsum(np.pad(members, ((0, 0), (1, 0))), -1)
    at = [np.searchsorted(fp, ks, side="right") for fp in np.cumsum(nonmembers, -1)]
    return np.take_along_axis(found, np.stack(at), 1) / found[:, -1:]


def tpr_at_fpr(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"], fpr: float
) -> float:
    """Exact conservative TPR at a limit on the FPR.

    With N0 non-members the threshold is their (floor(fpr * N0) + 1)-th largest score,
    and only what lies *strictly above* counts as a member: ties can never break the
    limit. Where fpr * N0 < 1 (see `resolvable`) this is the TPR at zero false
    positives, and must be called that.
    """
    count = tally(scores, member)
    k = allowed(fpr, int(count.nonmembers.sum()))
    return float(true_positives(count, np.array([k]))[0] / count.members.sum())


def threshold_at(nonmember_scores: Float[np.ndarray, " n"], fpr: float) -> float:
    """A threshold, from reference non-members, whose FPR on new ones is at most `fpr`.

    "Member" means strictly above. Of n + 1 exchangeable non-members, a new one lies
    above the j-th largest of the other n with probability at most j / (n + 1); so
    j = floor(fpr * (n + 1)) keeps the expected FPR within the limit (the conformal
    quantile). The FPR realised on the evaluation images varies around it and is to be
    reported beside it.

    Raises:
      UserError: a score is not finite, or there are fewer than 1 / fpr - 1 of them.
    """
    finite("reference scores", nonmember_scores)
    within("fpr", fpr, 0.0, 1.0)
    n = len(nonmember_scores)
    j = allowed(fpr, n + 1)
    problem = f"{n} reference non-members cannot show this rate"
    remedy = f"give a rate from {1 / (n + 1):.2g} to {n / (n + 1):.2g}, or more of them"
    require(1 <= j <= n, f"threshold at fpr={fpr!r}", problem, remedy)
    return float(np.partition(nonmember_scores, n - j)[n - j])


def column_curves(
    values: Float[np.ndarray, "n k"],
    member: Bool[np.ndarray, " n"],
    fprs: tuple[float, ...] = (0.1, 0.01, 0.001),
) -> dict[str, Float[np.ndarray, " k"]]:
    """AUC and TPRs of every column, for curves over the diffusion time.

    Returns:
      {"auc": [K], "tpr@0.1": [K], ...}; a TPR is NaN where the non-members cannot
      resolve its rate. Take no maximum over these columns on evaluation data.

    Raises:
      UserError: a value is NaN or infinite (the column is named by its index), or a
      class is empty.
    """
    member = np.asarray(member, bool)
    bad = np.flatnonzero(~np.isfinite(values).all(0))
    if len(bad):
        finite(f"column {bad[0]} of the signals", values[:, bad[0]])
    if values.shape[1]:
        classes(values[:, 0], member)
    inside, outside = values[member], values[~member]
    n1, n0 = len(inside), len(outside)
    ranks = {f: n0 - 1 - allowed(f, n0) for f in fprs}
    curves = {"auc": np.full(values.shape[1], np.nan)}
    curves |= {f"tpr@{f:g}": np.full(values.shape[1], np.nan) for f in fprs}
    for k in range(values.shape[1]):
        low, high = np.sort(outside[:, k]), np.sort(inside[:, k])
        below = np.searchsorted(low, high, side="left").sum()
        equal_or_below = np.searchsorted(low, high, side="right").sum()
        curves["auc"][k] = float(below + equal_or_below) / (2.0 * n1 * n0)
        for f, rank in ranks.items():
            if resolvable(f, n0):
                # A limit of 1 permits every non-member: no threshold at all.
                above = 0 if rank < 0 else np.searchsorted(high, low[rank], "right")
                curves[f"tpr@{f:g}"][k] = (n1 - above) / n1
    return curves
