"""An audit: train -> attack -> report, as stages that meet only through files."""

from score_mia.auditing.bill import bill
from score_mia.auditing.describe import describe
from score_mia.auditing.stages import (
    attack,
    generate,
    import_target,
    run,
    train,
)

__all__ = [
    "attack",
    "bill",
    "describe",
    "generate",
    "import_target",
    "run",
    "train",
]
