"""What benchmark numbers were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    lines = Path("/proc/cpuinfo")
    models = [
        line.split(":", 1)[1].strip()
        for line in (lines.read_text().splitlines() if lines.exists() else [])
        if line.startswith("model name")
    ]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(),
            **{n: importlib.metadata.version(n) for n in ("jax", "jaxlib", "numpy")},
        },
    }
