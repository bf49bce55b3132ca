"""The jaxtyping names of the house, so that every signature tells its shapes."""

from __future__ import annotations

from typing import Any, TypeAlias

from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree, UInt32

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
