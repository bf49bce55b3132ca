"""Strict JAX for every test: four simulated devices, no silent promotion.

Most of a test's time is compilation of programs that run once, so LLVM's optimisations
are off. What a user's own start compiles is run with them by the tests that start
processes, and by the audit after the suite.
"""

from __future__ import annotations

import os
import zlib

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=4"
    + " --xla_backend_optimization_level=0"
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
        for item in items:
            if "slow" in item.keywords or _is_other_half(item):
                item.add_marker(wait)


def _is_other_half(item: pytest.Item) -> bool:
    """Whether it is one of those cases of a law that only the slow suite runs.

    Laws are many cases of few tests: each law is tried in every run, by every second
    of its cases, always the same ones, and by all of them with --slow.
    """
    if "laws" not in item.path.parts or not hasattr(item, "callspec"):
        return False
    return zlib.crc32(item.nodeid.encode()) % 2 == 1
