"""What a private training run guarantees: from noise to epsilon and back.

The mechanism is DP-SGD (Abadi et al. 2016): each step takes every image by its own
coin, sums gradients of norm at most C and adds Gaussian noise of standard deviation
`noise_multiplier` C. Google's dp_accounting does the mathematics, twice:

    "rdp"  Renyi DP at Opacus' orders: what most papers print. Knows nothing of
           truncated batches.
    "pld"  privacy loss distributions: tight to 1e-4, truncation included. The number
           that is held against measured leakage.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from score_mia.check import UserError, extra, one_of, positive, require
from score_mia.metrics.epsilon import gaussian_mu

ACCOUNTANTS = ("pld", "rdp")
ADJACENCIES = ("zero_out", "add_or_remove", "replace")
"""What one image more or less means: its gradients are zeroed (the number of images
stays known), it is added or removed, or it is exchanged for another image.

Training here is private for "zero_out" and "replace", whose neighbours have equally
many images, so that their number n may be known. And it is: by default the rate is
batch / n, sums are divided by rate n, the capacity (the shape of a batch) and a
calibrated noise follow from n, and the record tells it as `rows`. The epsilon of
"add_or_remove" is that of a run in which all these are constants. As n images and n + 1
can be told apart by `rows` alone, it guarantees nothing where n must hide; it is there
for comparison."""

ORDERS = (*(1 + i / 10 for i in range(1, 100)), *(float(a) for a in range(12, 64)))
"""Renyi orders of Opacus, so that its users find their numbers again."""

_TAIL = 1e-9
_DIGIT = 1e-5
_LEAST, _MOST = 2**-5, 2**12
_PROFILE = 48


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """DP-SGD as its accountants know it.

    Attributes:
      rows: images in the training set.
      rate: probability of each image to be in a batch.
      capacity: longest batch; longer draws keep a random part.
      noise_multiplier: noise over the clipping norm.
      steps: training steps.
      adjacency: one of `ADJACENCIES`.
    """

    rows: int
    rate: float
    capacity: int
    noise_multiplier: float
    steps: int
    adjacency: str = "zero_out"

    @property
    def expected(self) -> float:
        """Images in a batch on average: what sums are divided by."""
        return self.rows * self.rate


def capacity(rows: int, rate: float) -> int:
    """The batch length whose truncation costs no measurable epsilon, a multiple of 8.

    The probability that an image finds its batch full already is at most 1e-9 a step
    (for 1,000 images at 1/16: 120, which costs 1e-8 of an epsilon of 18).
    """
    from scipy import stats

    least = int(stats.binom.isf(_TAIL, max(rows - 1, 0), rate)) + 1
    return min(8 * math.ceil(least / 8), 8 * math.ceil(rows / 8))


@functools.lru_cache(maxsize=64)
def epsilon(mechanism: Mechanism, delta: float, accountant: str = "pld") -> float:
    """Epsilon of the whole training at `delta`; infinite without noise.

    Raises:
      UserError: dp_accounting is missing, or "rdp" for the replace adjacency, which
        it cannot account for.
    """
    one_of("accountant", accountant, ACCOUNTANTS)
    if mechanism.noise_multiplier == 0:
        return math.inf
    return float(_composed(mechanism, accountant).get_epsilon(delta))


@functools.lru_cache(maxsize=16)
def calibrate(
    mechanism: Mechanism, target: float, delta: float, accountant: str = "pld"
) -> float:
    """The noise multiplier with which training is (target, delta)-private.

    Rounded up at the fifth digit, so that it can be written down and given again; the
    mechanism's own is not looked at.

    Raises:
      UserError: no multiplier from 1/32 to 4096 reaches the target; as `epsilon`.
    """
    from scipy import optimize

    positive("epsilon", target)

    def excess(noise: float) -> float:
        given = dataclasses.replace(mechanism, noise_multiplier=noise)
        return epsilon(given, delta, accountant) - target

    low, high = _bracket(mechanism, target, delta, excess)
    root: Any = optimize.brentq(excess, low, high, xtol=0.1 * _DIGIT)
    count = math.ceil(root / _DIGIT)
    while excess(count * _DIGIT) > 0:
        count += 1
    return round(count * _DIGIT, 5)


def _bracket(
    m: Mechanism, target: float, delta: float, excess: Callable[[float], float]
) -> tuple[float, float]:
    """A multiplier with too little noise and one with enough.

    The search sets out from the central limit, where DP-SGD is mu-Gaussian with
    mu = rate sqrt(steps (exp(1 / noise^2) - 1)) (Bu et al. 2020).
    """
    ratio = gaussian_mu(target, delta) / (m.rate * math.sqrt(m.steps))
    guess = 1 / math.sqrt(math.log1p(ratio**2)) if ratio > 0 else _MOST
    guess *= 2 if m.adjacency == "replace" else 1
    low = high = min(max(guess, _LEAST), _MOST)
    if excess(low) <= 0:
        while excess(low) <= 0 and low > _LEAST:
            low, high = low / 1.25, low
    else:
        while excess(high) > 0 and high < _MOST:
            low, high = high, high * 1.25
    require(
        excess(high) <= 0 < excess(low),
        f"epsilon={target!r}",
        f"no noise multiplier from {_LEAST} to {_MOST} gives it at delta={delta!r}",
        "choose another epsilon or delta, or accountant='pld'",
    )
    return low, high


def account(mechanism: Mechanism, delta: float) -> dict[str, Any]:
    """The guarantee as plain values, for the provenance of a checkpoint.

    Returns:
      The mechanism's fields, "sampling", "delta", "epsilon_pld", "epsilon_rdp" (None
      where Renyi accounting does not cover the adjacency) and "profile":
      {"epsilon", "delta"} lists, other guarantees that hold all at once.
    """
    renyi = mechanism.adjacency != "replace"
    levels, deltas = _profile(mechanism, delta)
    return {
        **dataclasses.asdict(mechanism),
        "sampling": "poisson",
        "delta": delta,
        "epsilon_pld": epsilon(mechanism, delta, "pld"),
        "epsilon_rdp": epsilon(mechanism, delta, "rdp") if renyi else None,
        "profile": {"epsilon": levels.tolist(), "delta": deltas.tolist()},
    }


def _profile(
    mechanism: Mechanism, delta: float
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Epsilons from 0 to well beyond the accounted one, and the delta of each."""
    most = min(1.5 * epsilon(mechanism, delta, "pld") + 1.0, 500.0)
    levels = np.linspace(0.0, most, _PROFILE)
    return levels, np.asarray(_composed(mechanism, "pld").get_delta(levels))


@functools.lru_cache(maxsize=2)
def _composed(mechanism: Mechanism, accountant: str) -> Any:
    """The accountant after all steps."""
    fresh = _accountant(mechanism, accountant)
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)  # it warns of each Renyi order that it leaves out
    try:
        return fresh.compose(_event(mechanism, accountant))
    finally:
        logger.setLevel(before)


def _accountant(m: Mechanism, accountant: str) -> Any:
    dp = _dp_accounting()
    relation = {
        "zero_out": dp.NeighboringRelation.REPLACE_SPECIAL,
        "add_or_remove": dp.NeighboringRelation.ADD_OR_REMOVE_ONE,
        "replace": dp.NeighboringRelation.REPLACE_ONE,
    }[m.adjacency]
    ok = accountant == "pld" or m.adjacency != "replace"
    remedy = "take accountant='pld'"
    require(ok, "accountant='rdp'", "does not cover adjacency='replace'", remedy)
    if accountant == "rdp":
        return dp.rdp.RdpAccountant(ORDERS, relation)
    # Losses of one step lie within `spread` of 0 but for e^-50; with more than 50,000
    # cells for them the accountant takes minutes. Any cell gives an upper bound.
    noise = m.noise_multiplier / (2 if m.adjacency == "replace" else 1)
    spread = 10 / noise + 0.5 / noise**2
    return dp.pld.PLDAccountant(relation, max(1e-4, spread / 50_000))


def _event(m: Mechanism, accountant: str) -> Any:
    dp = _dp_accounting()
    if accountant == "rdp":
        gaussian = dp.GaussianDpEvent(m.noise_multiplier)
        one = dp.PoissonSampledDpEvent(m.rate, gaussian)
    else:
        one = dp.TruncatedSubsampledGaussianDpEvent(
            m.rows, m.rate, m.capacity, m.noise_multiplier
        )
    return dp.SelfComposedDpEvent(one, m.steps)


def _dp_accounting() -> Any:
    try:
        import dp_accounting
        import dp_accounting.pld
        import dp_accounting.rdp
    except ImportError as error:
        raise missing(error) from error
    return dp_accounting


def missing(error: ImportError) -> UserError:
    """The one line for a library of the extra "dp" that is not installed."""
    return UserError(f"private training needs {error.name}; {extra('dp')}")
