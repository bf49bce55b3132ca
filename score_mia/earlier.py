"""How metrics.json was written by earlier versions, told in the words of today."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def from_version_1(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as version 2 would have it."""
    attacks = record.get("attacks", {})
    target = dict(record.get("target", {}))
    timings = {
        "seconds": {n: e["cost"]["seconds"] for n, e in attacks.items() if "cost" in e},
        "training_seconds": target.pop("training_seconds", None),
        "devices": [record["device"]] if "device" in record else [],
    }
    entries = {n: _entry_of_version_1(e) for n, e in attacks.items()}
    return {**record, "target": target, "attacks": entries, "timings": timings}


_RENAMED = {"reference": "knows", "n_members": "members", "n_nonmembers": "nonmembers"}


def _entry_of_version_1(entry: Mapping[str, Any]) -> dict[str, Any]:
    made = {_RENAMED.get(k, k): v for k, v in entry.items() if k != "cost"}
    if "mirrored" in made:
        made["mirrored"] = made["mirrored"]["tpr_at_fpr"]
    return {**made, **entry.get("cost", {})}
