"""Where programs run: one jit, one mesh, one compilation cache for the whole house.

Nothing here sets an environment variable or a flag of XLA: what helps on accelerators
is the user's to set (docs/performance.md).
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import jax
from jax.sharding import AxisType, Mesh

# jaxlib 0.10's default CPU convolutions (a fusion library) are up to 1.5 times slower
# than the older ones for small and middle networks, and a little faster for large ones
# (benchmarks/). The option is known to these versions only, and to the CPU only.
_CPU_OPTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


_LARGE = 20_000_000

# XLA:CPU multiplies bfloat16 in float32 and, unless told not to, leaves out roundings
# between two operations: a reading would be closer to float32 than any accelerator's.
_ROUNDED = {"xla_allow_excess_precision": False}

Precision = Literal["float32", "tensorfloat32", "bfloat16"]
"""Of products and convolutions; see `precisely`."""


def precisely(precision: Precision) -> AbstractContextManager[Any]:
    """What is traced in here multiplies float32 numbers so, on every platform.

    JAX's own default is the fastest that a device offers: TF32 on NVIDIA's (10 bits
    after the point), one pass in bfloat16 on TPUs (7 bits), float32 on CPUs. Here:

    - "float32": in full, on all of them;
    - "tensorfloat32": in TF32 on NVIDIA's, in three passes on TPUs, in full on CPUs;
    - "bfloat16": as "float32"; it is the network that rounds (`networks.network`).
    """
    name = "tensorfloat32" if precision == "tensorfloat32" else "highest"
    return jax.default_matmul_precision(name)


def jit(
    function: Callable, *, parameters: int = 0, rounded: bool = False, **options: Any
) -> Any:
    """`jax.jit` with the compiler options measured to be best on this platform.

    They are the CPU's alone, and no part of the program: lowered for another platform
    it is that platform's own (tests/laws/test_lowering_laws.py).

    Args:
      function: as for `jax.jit`.
      parameters: about how many the network in it has.
      rounded: whether it computes in bfloat16, and every rounding is to be made.
      options: as for `jax.jit`.
    """
    known = jax.default_backend() == "cpu" and jax.__version__.startswith("0.10.")
    small = known and parameters < _LARGE
    own = {**(_CPU_OPTIONS if small else {}), **(_ROUNDED if known and rounded else {})}
    if own:
        options = {"compiler_options": own, **options}
    return jax.jit(function, **options)


def name() -> str:
    """Number and kind of this process's devices, e.g. "1 x cpu (x86_64)"."""
    devices = jax.local_devices()
    kind = devices[0].device_kind
    where = f" ({platform.machine()})" if kind == "cpu" else ""
    return f"{len(devices)} x {kind}{where}"


def size(params: Any) -> int:
    """How many numbers a tree of arrays holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def mesh(devices: int | None = None, *, everywhere: bool = False) -> Mesh:
    """This process's devices (the first `devices` of them) along one axis, "data".

    With `everywhere`, those of all processes that are joined (`distributed`) instead.

    The axis is Auto: `jax.make_mesh` would make it Explicit, which `shard_map` and
    per-example gradients reject for unsharded inputs.
    """
    chosen = jax.devices() if everywhere else jax.local_devices()[:devices]
    return jax.make_mesh(
        (len(chosen),), ("data",), axis_types=(AxisType.Auto,), devices=chosen
    )


def cache_compilations(folder: str | Path | None = None) -> Path:
    """Keep compiled programs on disk, so that a second start does not compile.

    The folder is `folder`, else $JAX_COMPILATION_CACHE_DIR, else
    ~/.cache/score_mia/xla. Results are the same with and without it.
    """
    default = Path.home() / ".cache" / "score_mia" / "xla"
    path = Path(folder or os.environ.get("JAX_COMPILATION_CACHE_DIR") or default)
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    return path
