"""How well members are told apart, each number with an honest interval.

Intervals come from a joint bootstrap over members and non-members, widened by exact
binomial bounds where resampling says too little: a bootstrap of an attack that made no
error in the sample makes none in any resample, and its interval collapses. Chosen by
simulated coverage (tests/metrics/test_coverage.py): for scores of N(1, 1) against
N(0, 1) with 1,000 + 1,000 images, the plain bootstrap's lower limit of the TPR at
0.1 % FPR lies above the truth in 23 % of audits instead of 2.5 %; with an AUC of 0.999
made by 0.2 % of hidden members, that of the AUC in 20 %.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import special

from score_mia.check import at_least, require, within
from score_mia.metrics.roc import (
    FPRS,
    Tally,
    allowed,
    auc_of,
    balanced_accuracy_of,
    classes,
    resolvable,
    tally,
    tprs_of,
    true_positives,
)
from score_mia.results import AttackResult, Estimate, FixedThreshold

_CELLS = 2**21
"""Resampled counts held at once: bounds the memory of the bootstrap to some 100 MB."""

_FEW = 3.0
"""Expected errors among min(N1, N0) pairs below which the AUC's bound is binomial."""

_TIED = 1 / 3
"""Share of images with a score that another has, above which scores count as tied."""

_ATOM = 0.5
"""Share of images on one single score, above which the few others are counted."""


@dataclasses.dataclass(frozen=True, eq=False)
class Band:
    """Pointwise band around the ROC: tpr, low, high [G] at each fpr [G].

    `tpr` is NaN where the non-members cannot resolve the rate; low and high hold.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    low: np.ndarray
    high: np.ndarray


def clopper_pearson(
    k: float, n: float, level: float = 0.95, *, one_sided: bool = False
) -> tuple[float, float]:
    """Exact interval for a proportion: k successes in n independent trials.

    Args:
      k: successes; a non-integer is interpolated by the same beta quantiles.
      n: trials, at least 1.
      level: probability that the truth lies within.
      one_sided: give each limit the whole error, to be used alone.

    Source: Clopper & Pearson 1934. Zero of 1,000 gives [0, 0.0037], or at most 0.0030
    one-sided.
    """
    within("level", level, 0.5, 1.0)
    at_least("trials", n, 1)
    within("successes", k, 0, n)
    error = (1 - level) if one_sided else (1 - level) / 2
    low = 0.0 if k <= 0 else float(special.betaincinv(k, n - k + 1, error))
    high = 1.0 if k >= n else float(special.betaincinv(k + 1, n - k, 1 - error))
    return low, high


def delong(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> tuple[float, float]:
    """AUC and its estimated variance (DeLong, DeLong & Clarke-Pearson 1988).

    Each class needs two images; with one, its share of the variance is unknown and the
    variance is infinite.
    """
    # Added up in the order of the scores, so that the order of rows is nowhere seen.
    beaten, beating = (np.sort(place) for place in placements(scores, member))
    beating = beating[::-1]
    value = float(beaten.mean())
    if min(len(beaten), len(beating)) < 2:
        return value, float("inf")
    spread = beaten.var(ddof=1) / len(beaten) + beating.var(ddof=1) / len(beating)
    return value, float(spread)


def placements(
    scores: Float[np.ndarray, " n"], member: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n1"], Float[np.ndarray, " n0"]]:
    """The share of the other class that each member beats, and that beats each other.

    Ties count half; the mean of either is the AUC.
    """
    groups = classes(scores, member)
    inside, outside = (np.sort(group) for group in groups)

    def placement(of: np.ndarray, among: np.ndarray) -> np.ndarray:
        left = np.searchsorted(among, of, side="left")
        return (left + np.searchsorted(among, of, side="right")) / (2 * len(among))

    return placement(groups[0], outside), 1 - placement(groups[1], inside)


def bootstrap(
    count: Tally, fprs: tuple[float, ...], replicates: int, seed: int
) -> Float[np.ndarray, "replicates columns"]:
    """Metrics of resamples: N1 members and N0 non-members drawn with replacement.

    Returns:
      [replicates, 2 + F]: AUC, balanced accuracy, then the conservative TPR at each
      fpr. The same seed gives the same rows.
    """
    # One stream per class: how the memory bound cuts the replicates cannot be seen.
    streams = [np.random.default_rng([seed, stream]) for stream in (0, 1)]
    size = len(count.scores)
    inside = np.repeat(np.arange(size), count.members)
    outside = np.repeat(np.arange(size), count.nonmembers)
    ks = np.array([allowed(f, len(outside)) for f in fprs], int)

    parts = []
    step = max(1, _CELLS // (len(inside) + len(outside)))
    for start in range(0, replicates, step):
        rows = min(step, replicates - start)
        m, n = (
            resample(stream, pool, rows, size)
            for stream, pool in zip(streams, (inside, outside), strict=True)
        )
        tprs = tprs_of(m, n, ks)
        parts.append(np.column_stack([auc_of(m, n), balanced_accuracy_of(m, n), tprs]))
    return np.concatenate(parts)


def resample(
    stream: np.random.Generator, pool: Int[np.ndarray, " n"], rows: int, size: int
) -> Int[np.ndarray, "rows size"]:
    """How often each of `size` places is drawn, when a pool of n is drawn n times.

    Args:
      stream: of random numbers.
      pool: places, from 0 to size - 1; one may stand there more than once.
      rows: how many times all that is done.
      size: how many places there are.
    """
    picks = pool[stream.integers(0, len(pool), (rows, len(pool)))]
    picks += np.arange(rows)[:, None] * size
    return np.bincount(picks.ravel(), minlength=rows * size).reshape(rows, size)


def tpr_interval(count: Tally, fpr: float, level: float = 0.95) -> tuple[float, float]:
    """Distribution-free interval for the TPR at a false positive rate.

    Clopper-Pearson for the members, mixed over where the threshold may lie: of N0
    non-members, K ~ Binomial(N0, fpr) lie above the threshold that truly has this
    rate, hence it lies between their K-th and (K+1)-th largest scores. The lower limit
    counts the members above the former, the upper limit those above the latter. With
    fpr * N0 below 3.7 the threshold may lie above every non-member seen, and the lower
    limit is 0: so few images prove nothing about so low a rate. Assumes scores without
    ties in the population.
    """
    n1, n0 = int(count.members.sum()), int(count.nonmembers.sum())
    ks, weight = _binomial(n0, fpr)
    edges = np.arange(0, len(ks), max(1, len(ks) // 256))
    weight = np.add.reduceat(weight, edges)
    last = np.append(edges[1:], len(ks)) - 1
    # Within a bin of neighbouring K: the lowest for the lower limit, and the highest.
    above_low = true_positives(count, ks[edges] - 1)
    above_high = true_positives(count, ks[last])
    error = (1 - level) / 2

    def quantile(a: np.ndarray, b: np.ndarray, q: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(44):
            x = (low + high) / 2
            inner = special.betainc(np.maximum(a, 1), np.maximum(b, 1), x)
            cdf = np.where(a == 0, 1.0, np.where(b == 0, 0.0, inner))
            low, high = (x, high) if weight @ cdf < q else (low, x)
        return low if q < 0.5 else high

    return (
        quantile(above_low, n1 - above_low + 1, error),
        quantile(above_high + 1, n1 - above_high, 1 - error),
    )


def _binomial(n: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """Values K that carry all but 1e-12 of Binomial(n, p), and their weights."""
    reach = 8 * np.sqrt(n * p * (1 - p)) + 30
    k = np.arange(max(0, int(n * p - reach)), min(n, int(n * p + reach)) + 1)
    log = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    weight = np.exp(log + special.xlogy(k, p) + special.xlog1py(n - k, -p))
    return k, weight / weight.sum()


def evaluate(
    scores: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    *,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    threshold: float | Float[np.ndarray, " n"] | None = None,
    excess: float = 1.0,
) -> AttackResult:
    """All numbers of one attack, each with its interval.

    Args:
      scores: membership scores, larger = more member-like.
      member: True for members.
      level: of every interval.
      replicates: of the bootstrap.
      seed: of the bootstrap.
      threshold: fixed beforehand, on other images, for all scores or for each; member
        means strictly above.
      excess: by what the variance of a number exceeds that of independent scores.

    Returns:
      The estimates, the counts and the level; given a threshold, the rates at it;
      where the AUC's interval lies below 0.5, the TPRs of the negated scores.

    Raises:
      UserError: a score is NaN or infinite, a class is empty, or an option is out of
      bounds.
    """
    within("level", level, 0.5, 1.0)
    at_least("replicates", replicates, 100)
    count = tally(scores, member)
    n1, n0 = int(count.members.sum()), int(count.nonmembers.sum())
    draws = bootstrap(count, FPRS, replicates, seed)
    tails = ((1 - level) / 2, (1 + level) / 2)
    low, high = np.quantile(draws, tails, axis=0)
    area = _auc(scores, member, level, (low[0], high[0]))
    mirrored: dict[float, Estimate] = {}
    if area.high is not None and area.high < 0.5:
        turned = tally(-np.asarray(scores), member)
        limits = np.quantile(bootstrap(turned, FPRS, replicates, seed), tails, axis=0)
        mirrored = _tprs(turned, level, *limits[:, 2:])

    def wide(rates: dict[float, Estimate]) -> dict[float, Estimate]:
        return {fpr: widened(rate, excess) for fpr, rate in rates.items()}

    return AttackResult(
        members=n1,
        nonmembers=n0,
        level=level,
        auc=widened(area, excess),
        balanced_accuracy=widened(_balanced(count, level, (low[1], high[1])), excess),
        tpr_at_fpr=wide(_tprs(count, level, low[2:], high[2:])),
        tpr_at_zero_fp=widened(_zero_fp(count, level), excess),
        mirrored=wide(mirrored),
        at_fixed_threshold=_fixed(scores, member, threshold, level, excess),
    )


def _fixed(
    scores: np.ndarray,
    member: np.ndarray,
    threshold: float | np.ndarray | None,
    level: float,
    excess: float,
) -> FixedThreshold | None:
    """The rates at a threshold, one for all scores or one for each."""
    if threshold is None:
        return None
    ok = bool(np.all(np.isfinite(threshold)))
    remedy = "fix it with score_mia.metrics.roc.threshold_at"
    require(ok, f"threshold={threshold!r}", "is not finite", remedy)
    groups = classes(np.asarray(scores) - threshold, member)
    tpr, fpr = (
        widened(proportion(int((group > 0).sum()), len(group), level), excess)
        for group in groups
    )
    return FixedThreshold(float(np.mean(threshold)), tpr, fpr)


def widened(estimate: Estimate, excess: float) -> Estimate:
    """For a number whose variance is so many times that of independent scores."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None or excess == 1.0:
        return estimate
    reach = np.sqrt(excess)
    low = max(0.0, value - float(reach * (value - low)))
    high = min(1.0, value + float(reach * (high - value)))
    return dataclasses.replace(estimate, low=low, high=high)


def _tprs(
    count: Tally, level: float, low: np.ndarray, high: np.ndarray
) -> dict[float, Estimate]:
    """The TPR at each of `FPRS`, from the bootstrap's limits [F]."""
    return {f: _tpr(count, f, level, (low[i], high[i])) for i, f in enumerate(FPRS)}


def proportion(k: int, n: int, level: float = 0.95) -> Estimate:
    """k of n with its Clopper-Pearson interval."""
    return Estimate(k / n, *clopper_pearson(k, n, level))


def _auc(
    scores: np.ndarray, member: np.ndarray, level: float, resampled: tuple[float, float]
) -> Estimate:
    """Bootstrap, joined with DeLong on the logit scale; binomial near 0 and 1.

    The variance of the AUC is at most A (1 - A) / min(N1, N0) (van Dantzig 1951), that
    of a proportion among min(N1, N0) pairs. Where fewer than `_FEW` of such pairs would
    be wrong, one image more or less decides and only this bound is honest. A perfect
    AUC of n + n images thus has the lower limit of n successes in n. Where most images
    have one and the same score the few others are counted exactly (`around_atom`).
    """
    value, variance = delong(scores, member)
    pairs = min(int(np.sum(member)), int(np.sum(~member)))
    exact = around_atom(tally(scores, member), value, level)
    limits = auc_limits(value, variance, pairs, level)
    return _joined(value, limits, resampled, exact)


def auc_limits(
    value: float, variance: float, pairs: int, level: float = 0.95
) -> tuple[float, float]:
    """Limits of an AUC: normal on the logit scale, binomial near 0 and 1.

    Args:
      value: the AUC.
      variance: its estimated variance; infinite if unknown.
      pairs: the size of the smaller class.
      level: of the interval.
    """
    if pairs * min(value, 1 - value) < _FEW or not np.isfinite(variance):
        return clopper_pearson(min(value * pairs, pairs), pairs, level)
    logit = special.logit(value)
    z = special.ndtri((1 + level) / 2)
    reach = z * np.sqrt(variance) / (value * (1 - value))
    return float(special.expit(logit - reach)), float(special.expit(logit + reach))


def around_atom(count: Tally, value: float, level: float) -> tuple[float, float]:
    """Limits of an AUC that rests on few images because most have one same score.

    With `a` the share of a class above that score and `c` the share below, the AUC is
    1/2 + (a1 - c1 - a0 + c0) / 2, to first order in the shares. Each has its exact
    interval, and the distances to the limits add up in squares (MOVER: Zou & Donner
    2008). A bootstrap of so few images, or of none, collapses. Without such a score
    the value itself is returned twice: this only ever widens.
    """
    both = count.members + count.nonmembers
    atom = int(np.argmax(both))
    if both[atom] <= _ATOM * both.sum():
        return value, value
    down, up = 0.0, 0.0
    for group, gain in ((count.members, 1), (count.nonmembers, -1)):
        n = int(group.sum())
        above, below = int(group[:atom].sum()), int(group[atom + 1 :].sum())
        for k, sign in ((above, gain), (below, -gain)):
            low, high = clopper_pearson(k, n, level)
            less, more = (k / n - low) ** 2, (high - k / n) ** 2
            down += less if sign > 0 else more
            up += more if sign > 0 else less
    return (
        max(0.0, value - float(np.sqrt(down)) / 2),
        min(1.0, value + float(np.sqrt(up)) / 2),
    )


def _balanced(count: Tally, level: float, resampled: tuple[float, float]) -> Estimate:
    """The basic bootstrap, and for the lower limit Clopper-Pearson on both rates.

    The best threshold of a resample is optimistic about the sample just as the
    sample's is about the population; reflecting the quantiles at the estimate takes the
    optimism out. It takes out too little where nothing is to be found or next to no
    error made, so the rates at the chosen threshold may fall to their exact limits.
    Scores with many ties leave few thresholds to choose from, hence next to no
    optimism: there the upper limit is at least that of each threshold alone
    (`_highest_upper`).
    """
    tp, fp = np.cumsum(count.members), np.cumsum(count.nonmembers)
    n1, n0 = int(tp[-1]), int(fp[-1])
    best = int(np.argmax(tp / n1 - fp / n0))
    value = float(balanced_accuracy_of(count.members, count.nonmembers))
    tpr = clopper_pearson(int(tp[best]), n1, level)[0]
    tnr = clopper_pearson(int(n0 - fp[best]), n0, level)[0]
    low = min((tpr + tnr) / 2, 2 * value - resampled[1])
    high = 2 * value - resampled[0]
    if _tied_share(count) > _TIED:
        high = max(high, _highest_upper(tp, fp, level))
    return Estimate(value, float(max(0.5, low)), float(min(1.0, max(value, high))))


def _highest_upper(tp: np.ndarray, fp: np.ndarray, level: float) -> float:
    """The largest of the thresholds' own upper limits of (TPR + TNR) / 2.

    It is above the best threshold's accuracy as surely as that threshold's own limit
    is, whichever it be. The threshold above all images is one of them. The exact limits
    of both rates are combined by squares (MOVER: Zou & Donner 2008).
    """
    tp, fp = np.append(0, tp), np.append(0, fp)
    rates, reach = [], []
    for k, n in ((tp, tp[-1]), (fp[-1] - fp, fp[-1])):
        inner = special.betaincinv(k + 1.0, np.maximum(n - k, 1), (1 + level) / 2)
        rates.append(k / n)
        reach.append(np.where(k == n, 1.0, inner) - k / n)
    return float(np.max(sum(rates) + np.hypot(*reach)) / 2)


def _tied_share(count: Tally) -> float:
    """Share of the images whose score another image has as well."""
    both = count.members + count.nonmembers
    return float(both[both > 1].sum() / both.sum())


def _tpr(
    count: Tally, fpr: float, level: float, resampled: tuple[float, float]
) -> Estimate:
    """Bootstrap joined with `tpr_interval`, or that alone below the resolution."""
    n0 = int(count.nonmembers.sum())
    exact = tpr_interval(count, fpr, level)
    if not resolvable(fpr, n0):
        return Estimate(None, *exact, resolvable=False)
    found = true_positives(count, np.array([allowed(fpr, n0)]))[0]
    return _joined(found / count.members.sum(), exact, resampled)


def _joined(value: float, *intervals: tuple[float, float]) -> Estimate:
    """The smallest interval that holds the value and all the intervals."""
    low = min(float(value), *(float(low) for low, _ in intervals))
    high = max(float(value), *(float(high) for _, high in intervals))
    return Estimate(float(value), low, high)


def _zero_fp(count: Tally, level: float) -> Estimate:
    """TPR above every non-member, and how large the FPR may be all the same.

    `fpr_upper` is the upper limit of the two-sided interval, as everywhere in the
    report: 0.37 % for none of 1,000 at 95 %.
    """
    n1, n0 = int(count.members.sum()), int(count.nonmembers.sum())
    found = int(true_positives(count, np.array([0]))[0])
    upper = clopper_pearson(0, n0, level)[1]
    return dataclasses.replace(proportion(found, n1, level), fpr_upper=upper)


def roc_band(
    scores: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    fpr_grid: Float[np.ndarray, " g"],
    *,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Band:
    """The conservative ROC on a grid, with the same intervals as the table's TPRs."""
    count = tally(scores, member)
    grid = tuple(float(f) for f in fpr_grid)
    draws = bootstrap(count, grid, replicates, seed)[:, 2:]
    low, high = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)
    points = [_tpr(count, f, level, (low[i], high[i])) for i, f in enumerate(grid)]
    return Band(
        fpr=np.array(grid),
        tpr=np.array([np.nan if p.value is None else p.value for p in points]),
        low=np.array([p.low for p in points]),
        high=np.array([p.high for p in points]),
    )
