"""What accelerators can do, by their makers' data sheets: the peaks that a bill states.

Dense rates (no structured sparsity) of one chip, in FLOP/s, and the bandwidth of its
memory, in bytes/s.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from score_mia.device import Precision, jit, precisely


class Chip(NamedTuple):
    """One accelerator.

    Attributes:
      name: as people say it.
      kind: part of the name that JAX gives its kind, in lower case.
      bf16: FLOP/s of matrix products in bfloat16.
      single: FLOP/s of matrix products of float32 numbers as JAX multiplies them by
        default: TF32 on these GPUs, one pass of bfloat16 on TPUs.
      float32: FLOP/s in full float32; None where the maker states none.
      bandwidth: bytes/s of its memory.
      source: who says so.
    """

    name: str
    kind: str
    bf16: float
    single: float
    float32: float | None
    bandwidth: float
    source: str

    def rate(self, precision: Precision | None) -> float:
        """FLOP/s of float32 products that are made so (`device.precisely`).

        TPUs make them of several passes in bfloat16.

        Args:
          precision: None for what JAX does by default.
        """
        if precision is None:
            return self.single
        if self.float32 is None:
            passes = {"float32": 6, "tensorfloat32": 3, "bfloat16": 1}[precision]
            return self.bf16 / passes
        return {
            "float32": self.float32,
            "tensorfloat32": self.single,
            "bfloat16": self.bf16,
        }[precision]


CHIPS = (
    Chip(
        name="H100",
        kind="h100",
        bf16=989.4e12,
        single=494.7e12,
        float32=66.9e12,
        bandwidth=3.35e12,
        source="NVIDIA H100 Tensor Core GPU data sheet and architecture paper, SXM5",
    ),
    Chip(
        name="A100",
        kind="a100",
        bf16=312e12,
        single=156e12,
        float32=19.5e12,
        bandwidth=2.039e12,
        source="NVIDIA A100 Tensor Core GPU data sheet, 80 GB SXM",
    ),
    Chip(
        name="v5e",
        kind="v5 lite",
        bf16=197e12,
        single=197e12,
        float32=None,
        bandwidth=0.819e12,
        source="Google Cloud TPU documentation, v5e",
    ),
    Chip(
        name="v5p",
        kind="v5p",
        bf16=459e12,
        single=459e12,
        float32=None,
        bandwidth=2.765e12,
        source="Google Cloud TPU documentation, v5p",
    ),
)


def here() -> tuple[str, Callable[[Precision | None], float]]:
    """The device at hand: its name, and FLOP/s by precision.

    By the table, if that knows it; else measured.
    """
    kind = jax.local_devices()[0].device_kind
    for chip in CHIPS:
        if chip.kind in kind.lower():
            return kind, chip.rate
    return kind, functools.cache(measured_rate)


def measured_rate(precision: Precision | None = None) -> float:
    """Measured rate of a matrix product, in floating point operations a second.

    Args:
      precision: of the product, as `Chip.rate` takes it.
    """
    # Accelerators need large products, and one waiting behind the other.
    n = 1024 if jax.default_backend() == "cpu" else 8192
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    how = contextlib.nullcontext() if precision is None else precisely(precision)
    with how:
        product = jit(lambda a: a @ a).lower(jnp.ones((n, n), dtype)).compile()
    a = jnp.ones((n, n), dtype)
    product(a).block_until_ready()
    start = time.perf_counter()
    products = [product(a) for _ in range(4)]
    jax.block_until_ready(products)
    return 4 * 2 * n**3 / (time.perf_counter() - start)
