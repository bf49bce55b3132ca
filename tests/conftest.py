"""Strict JAX for every test: four simulated devices, no silent promotion.

Most of a test's time is compilation of programs that run once, so LLVM's optimisations
are off, and so are XLA's fusions by way of MLIR, which take longer to compile than they
save. What a user's own start compiles is run with all of them by the tests that start
processes, and by the audit after the suite.
"""

from __future__ import annotations

import gc
import os
import zlib

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
    + " --xla_backend_optimization_level=0"
    + " --xla_llvm_disable_expensive_passes=true"
    + " --xla_cpu_use_fusion_emitters=false"
    + " --xla_cpu_parallel_codegen_split_count=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Workers share the cores: threads of theirs would wait for each other, spinning.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest
from hypothesis import settings

from score_mia.device import cache_compilations

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
cache_compilations()

settings.register_profile("score_mia", deadline=None, max_examples=20)
settings.load_profile("score_mia")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the slow simulations too")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    if not config.getoption("--slow"):
        wait = pytest.mark.skip(reason="slow; run with --slow")
        for item in [i for i in items if "slow" in i.keywords] + _others(items):
            item.add_marker(wait)


def pytest_collection_finish() -> None:
    """What is imported stays: no collection of garbage need look at it again."""
    gc.collect()
    gc.freeze()


def _others(items: list[pytest.Item]) -> list[pytest.Item]:
    """Those cases that only the slow suite runs.

    Laws, and what is marked so, are many cases of few tests, which differ in little. Of
    each test some cases are tried in every run, half of few and a quarter of many,
    always the same ones, drawn by their names; all of them with --slow.
    """
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if hasattr(item, "callspec") and (
            "laws" in item.path.parts or "many" in item.keywords
        ):
            cases.setdefault(item.nodeid.split("[", 1)[0], []).append(item)
    others = []
    for same in cases.values():
        same.sort(key=lambda item: zlib.crc32(item.nodeid.encode()))
        n = len(same)
        others += same[-(-n // (2 if n < 8 else 3 if n < 16 else 4)) :]
    return others
