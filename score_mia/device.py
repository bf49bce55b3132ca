"""Where programs run: one jit, one mesh, one compilation cache for the whole house."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def jit(function: Callable, *, parameters: int = 0, **options: Any) -> Any:
    """`jax.jit` with the compiler options measured to be best on this platform.

    Args:
      function: as for `jax.jit`.
      parameters: about how many the network in it has.
      options: as for `jax.jit`.
    """
    known = jax.default_backend() == "cpu" and jax.__version__.startswith("0.10.")
    if known and parameters < _LARGE:
        options = {"compiler_options": _CPU_OPTIONS, **options}
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
