"""Throughput of signals on 1, 2, 4, 8 simulated devices, and by 1, 2, 4 processes.

    python benchmarks/scaling.py            # writes benchmarks/results/scaling.json
    python benchmarks/scaling.py --smoke

Simulated devices share the machine's cores, and so do the processes: no ratio can pass
the number of free cores. What is measured is what spreading costs: a ratio of 1 where
one device keeps all cores busy is a spread that costs nothing. Each measurement is a
process (or several, that share a workdir as --host=I/N does) that compiles, waits for
the others, and then reads rows; they take turns, medians over the rounds.
"""

from __future__ import annotations

import json
import os
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
RESULT = HERE / "results" / "scaling.json"

_ROUNDS = flags.DEFINE_integer("rounds", 3, "of each count", 1)
_ROWS = flags.DEFINE_integer("rows", 4096, "images read in all", 1)
_SMOKE = flags.DEFINE_bool("smoke", False, "one round of few images; writes nothing")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")
_INNER = flags.DEFINE_string("inner", None, "FOLDER I/N DEVICES (the inner process)")


def read(folder: Path, host: str, devices: int, rows: int) -> None:
    """One process's share; tells when it began and ended."""
    import jax
    import numpy as np
    from cheap import SPEC, Cheap, Digits

    from score_mia.engine import Reader, collect
    from score_mia.hosts import Host
    from score_mia.lease import lease
    from score_mia.spec import parts
    from score_mia.tiles import Engine

    me = Host.of(host)
    me = Host(me.number, me.count, folder)
    network = {"name": "mlp", "features": 512, "blocks": 4}
    p = parts({**SPEC, "network": network})
    target = p.target(p.init(jax.random.key(0)))
    how = Engine(tile=64, shard=512, devices=devices)
    reader = Reader("cheap", Cheap(), target, Digits(rows), 7, how)
    with lease(folder, me.number), tempfile.TemporaryDirectory() as other:
        collect(reader, np.arange(64 * devices), other)  # compiles
        (folder / f"ready-{me.number}").touch()
        while len(list(folder.glob("ready-*"))) < me.count:
            time.sleep(0.01)
        began = time.time()
        collect(reader, np.arange(rows), folder / "rows", me)
        print(json.dumps([began, time.time()]))


def seconds(devices: int, hosts: int, rows: int) -> float:
    """From the first row begun to the last done, by so many processes."""
    force = f"--xla_force_host_platform_device_count={devices}"
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(HERE.parent),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {force}",
    }
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for i in range(hosts):
            inner = f"--inner={folder} {i}/{hosts} {devices}"
            words = [sys.executable, __file__, inner, f"--rows={rows}"]
            processes.append(
                subprocess.Popen(
                    words,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            )
        told = [process.communicate()[0] for process in processes]
        assert not any(process.returncode for process in processes)
    spans = [json.loads(text) for text in told]
    return max(end for _, end in spans) - min(began for began, _ in spans)


def main(_: list[str]) -> None:
    if _INNER.value is not None:
        folder, host, devices = _INNER.value.split()
        read(Path(folder), host, int(devices), _ROWS.value)
        return
    rows, rounds = _ROWS.value, _ROUNDS.value
    cases = {f"{n} devices": (n, 1) for n in (1, 2, 4, 8)}
    cases |= {f"{n} processes": (1, n) for n in (1, 2, 4)}
    if _SMOKE.value:
        rows, rounds = 1024, 1
        cases = {name: cases[name] for name in ("1 devices", "2 devices")}
        cases["2 processes"] = (1, 2)
    before = machine()
    times: list[dict[str, float]] = [
        {name: seconds(*case, rows) for name, case in cases.items()}
        for _ in range(rounds)
    ]
    ratio = {
        name: round(statistics.median(t["1 devices"] / t[name] for t in times), 2)
        for name in cases
    }
    rate = {n: round(rows / statistics.median(t[n] for t in times)) for n in cases}
    result: dict[str, Any] = {
        "machine": before,
        "case": "mlp of 4 x 512 on 8x8, tile 64, one evaluation a row",
        "rows": rows,
        "rounds": rounds,
        "rows_a_second": rate,
        "throughput_ratio": ratio,
    }
    print(rate, ratio, sep="\n")
    if not _SMOKE.value:
        save_json(_OUTPUT.value, result)


if __name__ == "__main__":
    app.run(main)
