"""What memory in large pages gives on CPU: the same commands under settings of malloc.

    python benchmarks/large_pages.py        # writes results/large_pages.json
    python benchmarks/large_pages.py --smoke

Each run is a process of its own, `score-mia train` and then `attack` of
benchmarks/target.py, with `GLIBC_TUNABLES` set: to nothing, to large pages alone, to
what keeps freed memory in the process, to both, and to one heap for all threads as
well; score_mia/pages.py has what the command line asks for. Programs are compiled
before. Settings take turns; numbers are medians over the rounds: steps a second that
the training tells, its page faults, seconds in the kernel and largest memory, and
seconds of the attacks' signals.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import app, flags
from machine import machine

from score_mia import pages
from score_mia.files import save_json

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "large_pages.json"

_ROUNDS = flags.DEFINE_integer("rounds", 3, "runs under each setting", 1)
_SIZES = flags.DEFINE_list("sizes", ["small", "large"], "of those")
_SMOKE = flags.DEFINE_bool("smoke", False, "one round, smallest; writes nothing")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")


def some(*names: str) -> dict[str, int]:
    """These of the command line's tunables."""
    return {name: pages.TUNABLES[name] for name in names}


SETTINGS = {
    "none": {},
    "large pages": some("hugetlb"),
    "memory kept": some("mmap_max", "trim_threshold"),
    "both": some("hugetlb", "mmap_max", "trim_threshold"),
    "both, one heap": pages.TUNABLES,
}
STEPS = {"small": 120, "large": 12}
"""Config -> training steps."""
ATTACKED = {"small": ("attack",), "large": ()}
"""Those that are attacked too: a likelihood of the large one takes seconds an image."""
TOLD = re.compile(r"steps, ([\d.]+) steps/s")


def run(command: str, size: str, tunables: dict[str, int], folder: str) -> dict:
    """A training's rate, faults and memory, or the seconds of an attack's signals."""
    steps = 4 if _SMOKE.value else STEPS[size]
    words = [
        f"--config=benchmarks/target.py:{size}",
        f"--workdir={folder}/{size}",
        f"--cache={folder}/cache",
        f"--config.train.steps={steps}",
        f"--config.train.log_every={max(1, steps // 4)}",
        *("--config.split.members=32", "--config.split.nonmembers=32"),
    ]
    child = subprocess.Popen(
        [sys.executable, "-m", "score_mia", command, *words],
        cwd=HERE.parent,
        env={
            **os.environ,
            pages.VARIABLE: pages.setting(tunables),
            "PYTHONPATH": str(HERE.parent),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert child.stdout is not None
    said = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    assert status == 0, said
    if command == "train":
        return {
            "steps_per_second": float(TOLD.findall(said)[-1]),
            "faults": used.ru_minflt,
            "kernel_seconds": used.ru_stime,
            "peak_mib": used.ru_maxrss / 1024,
        }
    timings = json.loads(Path(folder, size, "timings.json").read_text())
    return {f"{name}_seconds": spent for name, spent in timings["seconds"].items()}


def main(argv: list[str]) -> None:
    del argv
    rounds = 1 if _SMOKE.value else _ROUNDS.value
    sizes = ["small"] if _SMOKE.value else _SIZES.value
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for command in ("train", *ATTACKED[size]):
                run(command, size, {}, folder)
        for _ in range(rounds):
            for size in sizes:
                for name, tunables in SETTINGS.items():
                    shutil.rmtree(Path(folder, size))
                    made = run("train", size, tunables, folder)
                    for command in ATTACKED[size]:
                        made |= run(command, size, tunables, folder)
                    found.setdefault((size, name), []).append(made)
    result: dict[str, Any] = {"machine": machine(), "settings": SETTINGS}
    for (size, name), runs in found.items():
        medians = {k: statistics.median(run[k] for run in runs) for k in runs[0]}
        result.setdefault(size, {})[name] = medians
        plain = result[size]["none"]
        shown = [f"{k} {v:,.2f} ({v / plain[k]:.2f})" for k, v in medians.items()]
        print(f"{size:6s} {name:12s} {', '.join(shown)}")
    if not _SMOKE.value:
        save_json(Path(_OUTPUT.value), result)


if __name__ == "__main__":
    app.run(main)
