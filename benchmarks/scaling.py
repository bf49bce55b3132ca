"""Throughput of signals on 1 to 8 simulated devices, by 1 to 4 processes, to a bucket.

    python benchmarks/scaling.py            # writes benchmarks/results/scaling.json
    python benchmarks/scaling.py --smoke

Simulated devices share the machine's cores, and so do the processes: no ratio can pass
the number of free cores. What is measured is what spreading costs: a ratio of 1 where
one device keeps all cores busy is a spread that costs nothing. Each measurement is a
process (or several, that share a workdir as --host=I/N does) that compiles, waits for
the others, and then reads rows; they take turns, medians over the rounds. The bucket is
moto's on this machine's loopback, asked by the clients that ask a real one: what it
measures is the house's own requests (the server shares the cores, too), no network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import app, flags
from machine import machine

from score_mia.files import save_json

HERE = Path(__file__).resolve().parent
RESULT = HERE / "results" / "scaling.json"

_ROUNDS = flags.DEFINE_integer("rounds", 3, "of each count", 1)
_ROWS = flags.DEFINE_integer("rows", 65_536, "images read in all", 1)
_SMOKE = flags.DEFINE_bool("smoke", False, "one round of few images; writes nothing")
_OUTPUT = flags.DEFINE_string("output", str(RESULT), "file for the result")
_INNER = flags.DEFINE_string("inner", None, "a Case and where (the inner process)")

BUCKET = "scaling"
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclasses.dataclass(frozen=True)
class Case:
    """How rows are spread: over devices of each of some processes, into what."""

    devices: int = 1
    processes: int = 1
    bucket: bool = False


CASES = {
    **{f"{n} devices": Case(devices=n) for n in (1, 2, 4, 8)},
    **{f"{n} processes": Case(processes=n) for n in (1, 2, 4)},
    **{f"bucket, {n} processes": Case(processes=n, bucket=True) for n in (1, 2, 4)},
}
SMOKE = ("1 devices", "2 devices", "2 processes", "bucket, 1 processes")


def read(folder: Path, workdir: str, host: str, devices: int, rows: int) -> None:
    """One process's share; tells when it began and ended."""
    import jax
    import numpy as np
    from cheap import SPEC, Cheap, Digits

    from score_mia.engine import Reader, collect
    from score_mia.hosts import Host
    from score_mia.lease import lease
    from score_mia.spec import parts
    from score_mia.storage import locate
    from score_mia.tiles import Engine

    me = Host.of(host)
    place = locate(workdir)
    me = Host(me.number, me.count, place)
    network = {"name": "mlp", "features": 512, "blocks": 4}
    p = parts({**SPEC, "network": network})
    target = p.target(p.init(jax.random.key(0)))
    how = Engine(tile=64, shard=2048, devices=devices)
    reader = Reader("cheap", Cheap(), target, Digits(rows), 7, how)
    with lease(place, me.number), tempfile.TemporaryDirectory() as other:
        collect(reader, np.arange(64 * devices), other)  # compiles
        (folder / f"ready-{me.number}").touch()
        while len(list(folder.glob("ready-*"))) < me.count:
            time.sleep(0.01)
        began = time.time()
        collect(reader, np.arange(rows), place / "rows", me)
        print(json.dumps([began, time.time()]))


@contextlib.contextmanager
def store() -> Iterator[dict[str, str]]:
    """A bucket on loopback; what processes need to find it."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # of each request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        found = {**ACCOUNT, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
        os.environ.update(found)
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield found
    finally:
        server.stop()


def seconds(case: Case, rows: int, account: dict[str, str]) -> float:
    """From the first row begun to the last done."""
    force = f"--xla_force_host_platform_device_count={case.devices}"
    environment = {
        **os.environ,
        **account,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(HERE.parent),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {force}",
    }
    with tempfile.TemporaryDirectory() as folder:
        workdir = f"s3://{BUCKET}/{Path(folder).name}" if case.bucket else folder
        processes = []
        for i in range(case.processes):
            inner = f"{folder} {workdir} {i}/{case.processes} {case.devices}"
            words = [sys.executable, __file__, f"--inner={inner}", f"--rows={rows}"]
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
        folder, workdir, host, devices = _INNER.value.split()
        read(Path(folder), workdir, host, int(devices), _ROWS.value)
        return
    rows, rounds, cases = _ROWS.value, _ROUNDS.value, CASES
    if _SMOKE.value:
        rows, rounds, cases = 4096, 1, {name: CASES[name] for name in SMOKE}
    before = machine()
    with store() as account:
        times: list[dict[str, float]] = [
            {name: seconds(case, rows, account) for name, case in cases.items()}
            for _ in range(rounds)
        ]
    ratio = {
        name: round(statistics.median(t["1 devices"] / t[name] for t in times), 2)
        for name in cases
    }
    rate = {n: round(rows / statistics.median(t[n] for t in times)) for n in cases}
    result: dict[str, Any] = {
        "machine": before,
        "case": "mlp of 4 x 512 on 8x8, tile 64, files of 2,048, one evaluation a row",
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
