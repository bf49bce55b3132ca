"""How much better one attack is than another, on the same images."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from score_mia.metrics.intervals import Estimate, around_atom, auc_limits, placements
from score_mia.metrics.roc import tally


def paired(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    member: Bool[np.ndarray, " n"],
    *,
    excess: tuple[float, float] = (1.0, 1.0),
    level: float = 0.95,
) -> Estimate:
    """By how much the AUC of some scores exceeds that of others of the same images.

    The distances from either AUC to its limits are joined by MOVER (Zou 2007) with
    the correlation of DeLong's components, so that the interval does not collapse
    where an AUC is 1. Simulated coverage: tests/metrics/test_paired.py.

    Args:
      first, second: membership scores of the same images.
      member: True for members.
      excess: by what the variance of either exceeds that of independent scores.
      level: of the interval.
    """
    parts = list(
        zip(placements(first, member), placements(second, member), strict=True)
    )
    fewest = min(len(part[0]) for part in parts)
    values = [float(part.mean()) for part in parts[0]]
    spread, r = np.full(2, np.inf), 0.0
    if fewest > 1:
        covariance = np.sum([np.cov(part) / len(part[0]) for part in parts], axis=0)
        spread = np.diag(covariance) * excess
        r = float(covariance[0, 1] / max(np.sqrt(spread.prod()), 1e-300))
    reach = np.empty((2, 2))
    for i, scores in enumerate((first, second)):
        limits = auc_limits(values[i], float(spread[i]), fewest, level)
        around = around_atom(tally(scores, member), values[i], level)
        reach[i] = values[i] - min(*limits, *around), max(*limits, *around) - values[i]
    (down, up), (less, more) = np.maximum(reach, 0.0)
    margin = values[0] - values[1]
    low = margin - np.sqrt(max(0.0, down**2 + more**2 - 2 * r * down * more))
    high = margin + np.sqrt(max(0.0, up**2 + less**2 - 2 * r * up * less))
    return Estimate(margin, max(-1.0, float(low)), min(1.0, float(high)))
