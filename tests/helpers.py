"""What many tests do with a signal and with a workdir."""

from __future__ import annotations

from pathlib import Path

from score_mia.attacks.protocol import OWN, Query
from score_mia.engine import view


def ask(signal, target, image, key, condition=None):
    """Values and diagnostics [K + D] of one image, read off the view it may have."""
    conditions = {} if condition is None else {OWN: condition}
    query = Query(image, conditions, key, key)
    return signal(view(target, signal.access), query, ()).flat()


def signal_folder(workdir: Path, name: str) -> Path:
    """The folder of a signal, whatever decided its numbers; there must be one."""
    (folder,) = (workdir / "signals").glob(f"{name}-" + "[0-9a-f]" * 12)
    return folder
