"""What membership scores say about epsilon, and what epsilon says about them.

Lower bounds treat each image as an independent trial of the same mechanism. In one
audit of one trained model that is an assumption, so the report calls them empirical
(heuristic); over independently trained models they are exact. "delta" is that of
(epsilon, delta)-differential privacy, "mu" the parameter of Gaussian privacy.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import special

from score_mia.check import at_least, require, within
from score_mia.metrics.roc import classes, tally
from score_mia.results import EpsilonBound


def _upper(k: np.ndarray, n: int, error: float) -> np.ndarray:
    """One-sided upper Clopper-Pearson limits of k of n."""
    inner = special.betaincinv(k + 1.0, np.maximum(n - k, 1), 1 - error)
    return np.where(k >= n, 1.0, inner)


def _rates(
    scores: np.ndarray, member: np.ndarray, level: float, threshold: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Upper limits of FNR and FPR that hold jointly, with probability `level`.

    At one fixed threshold each takes half of the error; without one the error is
    shared by all n + m + 1 thresholds that could have been picked (Bonferroni).
    """
    within("level", level, 0.5, 1.0)
    inside, outside = classes(scores, member)
    n1, n0 = len(inside), len(outside)
    if threshold is None:
        count = tally(scores, member)
        tp = np.concatenate([[0], np.cumsum(count.members)])
        fp = np.concatenate([[0], np.cumsum(count.nonmembers)])
        error = (1 - level) / (2 * (n1 + n0 + 1))
    else:
        tp = np.array([np.count_nonzero(inside > threshold)])
        fp = np.array([np.count_nonzero(outside > threshold)])
        error = (1 - level) / 2
    return _upper(n1 - tp, n1, error), _upper(fp, n0, error)


def _epsilon(fnr: np.ndarray, fpr: np.ndarray, delta: float) -> float:
    """max ln((1 - FNR - delta) / FPR) and its mirror image, clipped at 0."""
    best = 0.0
    for miss, alarm in ((fnr, fpr), (fpr, fnr)):
        hit = 1 - miss - delta
        good = hit > 0
        if good.any():
            best = max(best, float(np.max(np.log(hit[good] / alarm[good]))))
    return best


def epsilon_clopper_pearson(
    scores: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    *,
    delta: float = 0.0,
    level: float = 0.95,
    threshold: float | None = None,
) -> float:
    """Lower bound on epsilon from one operating point of the ROC.

    (epsilon, delta)-DP implies TPR <= e^epsilon FPR + delta and
    1 - FPR <= e^epsilon (1 - TPR) + delta (Kairouz et al. 2015); the rates are replaced
    by their Clopper-Pearson limits (Jagielski et al. 2020; Nasr et al. 2021).

    Args:
      scores: membership scores, larger = more member-like.
      member: True for members.
      delta: of the guarantee.
      level: probability that the bound holds.
      threshold: fixed on *other* data, member means strictly above; without one the
        best is taken and paid for (Bonferroni), which costs about ln(N) less epsilon.

    Returns:
      The bound, 0 if nothing can be said. Compare with `largest_certifiable`.
    """
    within("delta", delta, 0.0, 1.0)
    return _epsilon(*_rates(scores, member, level, threshold), delta)


def gaussian_delta(mu: float, epsilon: float) -> float:
    """delta(epsilon) of mu-Gaussian privacy (Dong, Roth & Su 2022, Corollary 1)."""
    if mu <= 0:
        return 0.0
    tail = epsilon + special.log_ndtr(-epsilon / mu - mu / 2)
    return float(special.ndtr(-epsilon / mu + mu / 2) - np.exp(tail))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The mu whose Gaussian mechanism is exactly (epsilon, delta)-private."""
    at_least("epsilon", epsilon, 0.0)
    _open_unit("delta", delta)
    low, high = 0.0, 1.0
    while gaussian_delta(high, epsilon) < delta:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        small = gaussian_delta(middle, epsilon) < delta
        low, high = (middle, high) if small else (low, middle)
    return (low + high) / 2


def largest_certifiable(
    n_members: int,
    n_nonmembers: int,
    delta: float = 0.0,
    level: float = 0.95,
    *,
    searched: bool = False,
) -> float:
    """The bound that a perfect attack attains. To be printed beside every lower bound.

    No audit of this kind can certify more, however bad the leak: 5.6 with
    1,000 + 1,000 images at 95 % and a threshold fixed beforehand, 4.5 if the threshold
    is `searched` for among all of them and paid for.
    """
    at_least("n_members", n_members, 1)
    at_least("n_nonmembers", n_nonmembers, 1)
    within("delta", delta, 0.0, 1.0)
    within("level", level, 0.5, 1.0)
    none = np.array([0])
    looks = n_members + n_nonmembers + 1 if searched else 1
    error = (1 - level) / (2 * looks)
    return _epsilon(
        _upper(none, n_members, error), _upper(none, n_nonmembers, error), delta
    )


def joint_ceiling(
    fpr: Float[np.ndarray, " g"],
    epsilon: Float[np.ndarray, " k"],
    delta: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " g"]:
    """Largest TPR of any attack on a target that is (epsilon_i, delta_i)-private for
    all i: the least of their regions (Kairouz et al. 2015).

    With the guarantees of one mechanism at many epsilons this is its trade-off curve
    (Dong, Roth & Su 2022, Prop. 6), from above.
    """
    ok = len(epsilon) > 0 and bool(np.all(epsilon >= 0))
    remedy = "give one or more, none of them below 0"
    require(ok, f"epsilon={epsilon}", "is no list of guarantees", remedy)
    level, slack, rate = epsilon[:, None], delta[:, None], fpr[None, :]
    direct = np.exp(np.minimum(level, 700.0)) * rate + slack
    mirrored = 1.0 - np.exp(-level) * (1.0 - slack - rate)
    return np.clip(np.minimum(direct, mirrored).min(axis=0), 0.0, 1.0)


def _open_unit(name: str, value: float) -> None:
    """Require 0 < value < 1."""
    remedy = "give a number above 0 and below 1"
    require(bool(0 < value < 1), f"{name}={value!r}", "is not between 0 and 1", remedy)


def epsilon_bound(
    scores: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    delta: float,
    level: float,
) -> EpsilonBound:
    """What scores prove about epsilon, and what perfect ones would.

    Args:
      scores: membership scores, larger = more member-like.
      member: True for members.
      delta, level: see `epsilon_clopper_pearson`.
    """
    members = int(np.count_nonzero(member))
    counts = (members, len(member) - members)
    return EpsilonBound(
        epsilon_clopper_pearson(scores, member, delta=delta, level=level),
        largest_certifiable(*counts, delta, level, searched=True),
        delta,
        level,
    )
