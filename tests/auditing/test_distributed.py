"""An audit by processes that train as one, and then share its rows by files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.auditing.test_hosts import CONFIG, PROGRAM

FLAGS = "--xla_backend_optimization_level=0"

pytestmark = pytest.mark.slow


def joined(
    workdir: Path, deadly: str = "", numbers: tuple[int, ...] = (0, 1)
) -> list[subprocess.Popen]:
    """Two processes; the first dies where it would finish a file of this name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-c", PROGRAM, "" if number else deadly, "audit"),
                *(f"--config={CONFIG}", f"--workdir={workdir}", "--distributed"),
                *(f"--coordinator=127.0.0.1:{port}", f"--process_id={number}"),
                "--process_count=2",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS},
        )
        for number in numbers
    ]


def test_who_dies_after_the_training_does_not_end_the_other(tmp_path):
    lost, left = joined(tmp_path, "part-00002-of-00004")
    out, err = left.communicate(timeout=1200)
    _, told = lost.communicate(timeout=60)
    assert lost.returncode == -signal.SIGKILL, told
    assert left.returncode == 0, err
    # The collectives have told on standard output who is connected.
    assert out.endswith("host 1 of 2: its share is done, the rest is for host 0\n")
    assert not list(tmp_path.rglob("failed-*"))
    # The training is done: the first, started alone, waits for nobody.
    first = joined(tmp_path, numbers=(0,))[0]
    out, err = first.communicate(timeout=1200)
    assert first.returncode == 0, err
    assert f"report: {tmp_path / 'report' / 'index.html'}" in out
