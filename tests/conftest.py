"""Strict JAX for every test: four simulated devices, no silent promotion."""

from __future__ import annotations

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
from hypothesis import settings

from score_mia.device import cache_compilations

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
cache_compilations()

settings.register_profile("score_mia", deadline=None, max_examples=20)
settings.load_profile("score_mia")
