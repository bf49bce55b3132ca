"""Which rows are in the batch of a step, as a pure function of (seed, step).

There is no iterator state to save: training that is killed and started again asks for
the batch of its next step and gets what it would have got. Streams come from NumPy's
`RandomState`, which is frozen, so they are the same on every system and version.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import Int

from score_mia.check import at_least, within

_EPOCH, _POISSON = 3, 4  # second words of the seeds, one for each kind of draw


@dataclasses.dataclass(frozen=True)
class Batches:
    """Shuffled epochs without replacement; batches run on across their borders.

    Every row is seen once in each stretch of n draws that begins at a multiple of n. A
    batch larger than n holds rows more than once.

    Attributes:
      n: number of rows.
      batch: rows per step.
      seed: of all permutations.
    """

    n: int
    batch: int
    seed: int

    def __post_init__(self) -> None:
        at_least("n", self.n, 1)
        at_least("batch", self.batch, 1)
        within("seed", self.seed, 0, 2**32 - 1)

    @property
    def size(self) -> int:
        """Length of `indices`."""
        return self.batch

    def indices(self, step: int) -> Int[np.ndarray, " batch"]:
        """Rows 0 ... n-1 of step 0, 1, ..., int64 [batch]."""
        at_least("step", step, 0)
        places = step * self.batch + np.arange(self.batch, dtype=np.int64)
        epochs, rows = np.divmod(places, self.n)
        out = np.empty(self.batch, np.int64)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = epochs == epoch
            out[here] = _permutation(self.n, self.seed, epoch)[rows[here]]
        return out


@functools.lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> Int[np.ndarray, " n"]:
    order = np.random.RandomState((seed, _EPOCH, epoch)).permutation(n)
    order.setflags(write=False)  # it is shared by all callers
    return order


@dataclasses.dataclass(frozen=True)
class PoissonBatches:
    """Every row is in every batch by its own coin, as DP-SGD's accountants assume.

    Batches have one shape, `cap`: shorter ones are padded with -1, longer ones keep a
    random `cap` of their rows (truncated Poisson sampling, which the accountant must
    be told about).

    Attributes:
      n: number of rows.
      rate: probability of a row to be in a batch.
      cap: length of the index array.
      seed: of all draws.
    """

    n: int
    rate: float
    cap: int
    seed: int

    def __post_init__(self) -> None:
        at_least("n", self.n, 1)
        within("rate", self.rate, 0.0, 1.0)
        at_least("cap", self.cap, 1)
        within("seed", self.seed, 0, 2**32 - 1)

    @property
    def size(self) -> int:
        """Length of `indices`."""
        return self.cap

    def indices(self, step: int) -> Int[np.ndarray, " cap"]:
        """Rows of step 0, 1, ..., then -1 for padding, int64 [cap]."""
        at_least("step", step, 0)
        generator = np.random.RandomState((self.seed, _POISSON, step))
        rows = np.flatnonzero(generator.random_sample(self.n) < self.rate)
        if len(rows) > self.cap:
            rows = generator.permutation(rows)[: self.cap]
        return np.pad(rows, (0, self.cap - len(rows)), constant_values=-1)
