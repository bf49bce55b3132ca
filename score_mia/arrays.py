"""The jaxtyping names of the house, so that every signature tells its shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt32, UInt64

Scalar: TypeAlias = Float[Array, ""]
"""One number in an array: a time, a noise level, a label."""

ScalarLike: TypeAlias = Float[Array, ""] | Int[Array, ""] | float | int
"""What a caller may give for a scalar."""

Image: TypeAlias = Float[Array, "h w c"]
"""One image, float32: in [0, 1] outside the target, in the target's space inside."""

Key: TypeAlias = PRNGKeyArray | UInt32[Array, "2"]
"""A JAX random key."""

Params: TypeAlias = PyTree[Any]
"""The network's parameters."""


def hashed(ids: Int[np.ndarray, " n"], salt: int = 0) -> UInt64[np.ndarray, " n"]:
    """A number for each id that is as good as random, the same on every machine.

    The finaliser of SplitMix64 (Steele, Lea & Flood 2014): any two ids are as good as
    independent, whatever order a data set was numbered in.
    """
    x = ids.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (1 + salt)) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
