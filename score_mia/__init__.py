"""score_mia: audits the membership privacy of diffusion models, in JAX."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from score_mia.attacks.protocol import Attack
    from score_mia.auditing.door import Audit, audit, load
    from score_mia.check import UserError
    from score_mia.codecs import Affine
    from score_mia.data.source import ArraySource
    from score_mia.data.split import Split
    from score_mia.engine import Engine
    from score_mia.results import AttackResult, AuditResult, Estimate
    from score_mia.target import Target

__version__ = "0.4.0"

_HOMES = {
    "Affine": "codecs",
    "ArraySource": "data.source",
    "Attack": "attacks.protocol",
    "AttackResult": "results",
    "Audit": "auditing.door",
    "AuditResult": "results",
    "Engine": "engine",
    "Estimate": "results",
    "Split": "data.split",
    "Target": "target",
    "UserError": "check",
    "audit": "auditing.door",
    "load": "auditing.door",
}
"""Public name -> the module that holds it."""

__all__ = [
    "Affine",
    "ArraySource",
    "Attack",
    "AttackResult",
    "Audit",
    "AuditResult",
    "Engine",
    "Estimate",
    "Split",
    "Target",
    "UserError",
    "audit",
    "load",
]


def __getattr__(name: str) -> Any:
    """Imported at the first use: JAX and what stands on it take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module 'score_mia' has no attribute {name!r}")
    return getattr(importlib.import_module(f"score_mia.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
