"""One target of the mini study: `target.py:NAME` or `target.py:NAME-smoke`.

    python launch.py audit --config=configs/mini/target.py:vesde --workdir=runs/vesde

Names are those of `TARGETS` in `_base.py`. Two CPU cores: about ten minutes each.
"""

from pathlib import Path
from runpy import run_path

from ml_collections import ConfigDict

base = run_path(str(Path(__file__).with_name("_base.py")))


def get_config(arg: str = "") -> ConfigDict:
    name = arg.removesuffix("smoke").removesuffix("-") or "ddpm"
    if name not in base["TARGETS"]:
        known = ", ".join(base["TARGETS"])
        raise ValueError(f"target {name!r} is unknown; known: {known}")
    return base["target"](name, "smoke" if arg.endswith("smoke") else "")
