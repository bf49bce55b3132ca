"""Heads: rules that are networks, trained in JAX. They obey the laws of `rules`."""

from __future__ import annotations

from collections.abc import Callable

from score_mia.heads.convnet import Convnet
from score_mia.heads.mlp import Mlp

HEADS: dict[str, Callable] = {"mlp": Mlp, "convnet": Convnet}
"""Name of a rule in a config -> class; `rules.RULES` has the others."""
