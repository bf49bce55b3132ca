"""Whether two groups differ in the mean of any of many columns.

What a classifier gains by a shift in one direction it loses by learning all the others:
with 400 images of either group and 100 columns, a shift with which the best classifier
has AUC 0.6 leaves a fitted one at 0.54. A test need not learn the direction.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from score_mia.check import at_least, finite
from score_mia.metrics.crossfit import standardised

_CELLS = 2**22
"""Permuted labels held at once: bounds the memory."""


def differ(
    features: Float[np.ndarray, "n k"],
    member: Bool[np.ndarray, " n"],
    *,
    permutations: int = 999,
    seed: int = 0,
) -> float:
    """p-value of two groups being equal, by permutations of the labels.

    The statistic is the sum over columns of the fourth power of the standardised
    difference of means. It lies between the sum of squares, which one column of many
    cannot move, and their maximum, which is blind to what many columns share a little
    (Xu, Lin, Wei & Pan 2016 take the least p-value of several powers). The p-value is
    exact, whatever the columns' law (Phipson & Smyth 2010).

    Args:
      features: of each row; a column that is constant is left out.
      member: True for one of the groups.
      permutations: of the labels.
      seed: of the permutations.

    Raises:
      UserError: a feature that is not finite.
    """
    from threadpoolctl import threadpool_limits

    at_least("permutations", permutations, 99)
    finite("features", features)
    values = standardised(np.asarray(features, np.float64))
    labels = np.asarray(member, np.float64)
    # Centred columns: neither a shift of the labels nor their scale changes an order.
    rng = np.random.default_rng(seed)
    step, far = max(1, _CELLS // max(1, len(labels))), 0
    with threadpool_limits(1):
        own = _distance(values, labels[:, None])[0] * (1 - 1e-12)
        for start in range(0, permutations, step):
            count = min(step, permutations - start)
            shuffled = rng.permuted(np.repeat(labels[:, None], count, axis=1), axis=0)
            far += int(np.count_nonzero(_distance(values, shuffled) >= own))
    return (far + 1) / (permutations + 1)


def _distance(
    values: Float[np.ndarray, "n k"], labels: Float[np.ndarray, "n b"]
) -> Float[np.ndarray, " b"]:
    """Of each column of labels, up to a factor that they share."""
    return np.sum((values.T @ labels / len(values)) ** 4, axis=0)
