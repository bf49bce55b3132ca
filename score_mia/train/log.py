"""train.jsonl: a line {"step", "loss"} for each stretch of a training run."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from score_mia.check import UserError, refusing
from score_mia.files import write_atomic
from score_mia.storage import ObjectPath


def append(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line, and have it on the disk when this returns.

    Raises:
      UserError: the file cannot be written.
    """
    remedy = (
        "free some space or choose a writable folder, then run the same command again"
    )
    line = json.dumps(dict(entry)).encode() + b"\n"
    if isinstance(path, ObjectPath):  # which cannot be appended to: it is put anew
        before = path.read_bytes() if path.exists() else b""
        path.write_bytes(before + line)
        return
    with refusing(f"cannot write {path}", remedy, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a run, those that a kill tore off the end left out.

    Raises:
      UserError: another line than the last is none that `append` wrote.
    """
    entries = _entries(path)
    damaged = [k for k, entry in enumerate(entries, 1) if entry is None]
    if damaged and damaged[0] < len(entries):
        raise UserError(
            f"{path} is damaged (line {damaged[0]} is no record of a step); delete "
            "that line, or the file: only the curve of the training is drawn from it"
        )
    return [entry for entry in entries if entry is not None]


def truncate(path: Path, step: int) -> None:
    """Drop the lines beyond the step that a run resumes from, and damaged ones."""
    if not path.exists():
        return
    kept = [e for e in _entries(path) if e is not None and e["step"] <= step]
    lines = "".join(json.dumps(entry) + "\n" for entry in kept)
    write_atomic(path, lambda file: file.write(lines.encode()))


def _entries(path: Path) -> list[dict[str, Any] | None]:
    """Each line's entry, None for a line that holds none; [] if there is no file."""
    if not path.exists():
        return []
    remedy = "delete it: only the curve of the training is drawn from it"
    with refusing(f"{path} cannot be read", remedy, OSError):
        lines = path.read_bytes().split(b"\n")
    return [_entry(line) for line in lines if line.strip()]


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line.decode())
        whole = type(entry["step"]) is int and math.isfinite(entry["loss"])
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    return entry if whole else None
