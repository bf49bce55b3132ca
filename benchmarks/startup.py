"""Time from a command to its first step and its first row, compiled and kept.

    python benchmarks/startup.py            # writes benchmarks/results/startup.json
    python benchmarks/startup.py --smoke

Each start is a process of its own: it imports, plans, and trains one step, or attacks
16 images (all signals, and their judgement). "cold" has an empty folder of compiled
programs, "warm" the one that the cold start left. Numbers are medians over the rounds,
of wall-clock time and of the process's CPU time, interpreter included.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from absl import app, flags
from machine import machine

from score_mia.files import save_json

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "startup.json"

_ROUNDS = flags.DEFINE_integer("rounds", 3, "starts of each kind", 1)
_CONFIG = flags.DEFINE_string("config", "quickstart", "whose start is timed")
_SMOKE = flags.DEFINE_bool("smoke", False, "one round, smallest; writes nothing")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")

STEP = ["--config.train.steps=1", "--config.train.checkpoint_every=1"]
ROW = [
    *("--config.split.members=8", "--config.split.nonmembers=8"),
    *("--config.train.batch=8", "--config.report.samples=0"),
]


def start(command: str, config: str, workdir: str, cache: str) -> dict[str, float]:
    """Seconds of one start, by the clock and on all cores."""
    words = [command, f"--config={config}", f"--workdir={workdir}", f"--cache={cache}"]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "score_mia", *words, *STEP, *ROW],
        check=True,
        cwd=HERE.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": time.perf_counter() - clock, "cpu": spent}


def round_of(config: str) -> dict[str, dict[str, float]]:
    """First step and first rows, cold and then warm."""
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("cold", "warm"):
            place = str(Path(folder) / kind), str(Path(folder) / "cache")
            times[f"train, {kind}"] = start("train", config, *place)
            times[f"attack, {kind}"] = start("attack", config, *place)
    return times


def main(_: list[str]) -> None:
    config = f"{_CONFIG.value}:smoke" if _SMOKE.value else _CONFIG.value
    before = machine()
    rounds = [round_of(config) for _ in range(1 if _SMOKE.value else _ROUNDS.value)]
    seconds: dict[str, Any] = {
        name: {
            clock: round(statistics.median(r[name][clock] for r in rounds), 2)
            for clock in ("wall", "cpu")
        }
        for name in rounds[0]
    }
    for name, found in seconds.items():
        print(f"{name}: {found}")
    result = {"machine": before, "config": config, "seconds": seconds}
    if not _SMOKE.value:
        save_json(_OUTPUT.value, {**result, "rounds": len(rounds)})


if __name__ == "__main__":
    app.run(main)
