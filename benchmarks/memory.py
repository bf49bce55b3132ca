"""Peak memory of a whole audit by the number of its images.

    python benchmarks/memory.py                          # 1e3, 1e4, 1e5 rows
    python benchmarks/memory.py --rows=1000000 --workdir=runs/million

One attack with the loss on an untrained perceptron, images made as they are asked for
(8x8, `stream.py`), all controls and checks, the report. Each size runs in a process of
its own, whose peak of resident memory is told after the attack stage and at the end.
Without --workdir each run has a folder that is removed. Adds its sizes to
benchmarks/results/memory.json.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags
from machine import machine

from score_mia.files import load_json, save_json

HERE = Path(__file__).resolve().parent
_ROWS = flags.DEFINE_multi_integer("rows", [1000, 10_000, 100_000], "images of a run")
_WORKDIR = flags.DEFINE_string("workdir", None, "keep the runs below this folder")
_OUTPUT = flags.DEFINE_string(
    "output", str(HERE / "results" / "memory.json"), "where to write"
)
_INNER = flags.DEFINE_bool("inner", False, "run one size, and tell (the inner process)")
_VERSIONS = ("jax", "numpy", "scikit-learn", "scipy")


def config(rows):
    """Half of the images are members, half of either are reference data."""
    return {
        "title": f"{rows:,} made images",
        "data": {"name": "stream:made", "count": rows},
        "split": {"name": "shuffled", "members": rows // 2, "reference": 0.5},
        "target": {"name": "callable", "call": "stream:untrained"},
        "sde": {"name": "ddpm"},
        "network": {"name": "mlp", "features": 32, "blocks": 1},
        "attacks": {
            "loss": {
                "signal": {"name": "loss", "times": 4},
                "rule": {"name": "best"},
                "knows": "split",
            }
        },
        "sampler": {"name": "ddim", "steps": 4},
        "engine": {"tile": 1024, "shard": 8192},
        "report": {"samples": 4, "grid_check": 0},
    }


def peak():
    """MiB of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def inner(rows, workdir):
    """One whole audit; what it took."""
    from score_mia.auditing import plan, stages
    from score_mia.report import remake

    one, start = plan.plan(config(rows)), time.perf_counter()
    told = {"mib_imported": peak()}
    stages.train(one, workdir)
    stages.attack(one, workdir)
    told |= {"mib_attacked": peak(), "seconds_attacked": time.perf_counter() - start}
    remake(Path(workdir))
    told |= {"mib": peak(), "seconds": time.perf_counter() - start}
    print(json.dumps({k: round(v) for k, v in told.items()}))


def outer(rows, workdir):
    """The same in a process of its own."""
    flags_ = [f"--rows={rows}", f"--workdir={workdir}", "--inner"]
    ran = subprocess.run(
        [sys.executable, __file__, *flags_], check=True, stdout=subprocess.PIPE
    )
    return json.loads(ran.stdout.splitlines()[-1])


def main(_):
    if _INNER.value:
        inner(_ROWS.value[0], _WORKDIR.value)
        return
    import importlib.metadata

    path, sizes = Path(_OUTPUT.value), {}
    if path.exists():
        sizes = load_json(path)["rows"]
    for rows in _ROWS.value:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(_WORKDIR.value or place) / f"rows-{rows}"
            sizes[str(rows)] = outer(rows, folder)
        print(rows, sizes[str(rows)])
        versions = {name: importlib.metadata.version(name) for name in _VERSIONS}
        save_json(path, {"machine": machine(), "versions": versions, "rows": sizes})


if __name__ == "__main__":
    app.run(main)
