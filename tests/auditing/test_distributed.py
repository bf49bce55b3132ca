"""An audit by processes that train as one, and then share its rows by files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from score_mia.checkpoint import load_target
from tests.auditing.test_hosts import CONFIG, PROGRAM, start

pytestmark = pytest.mark.slow


def joined(workdir: Path, deadly: str = "") -> list[subprocess.Popen]:
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
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
        )
        for number in (0, 1)
    ]


def test_who_dies_after_the_training_does_not_end_the_other(tmp_path):
    with start(tmp_path / "one") as alone:
        assert alone.wait(300) == 0, alone.stderr.read()
    both = tmp_path / "both"
    lost, left = joined(both, "part-00002-of-00004")
    out, err = left.communicate(timeout=300)
    assert lost.wait(60) == -signal.SIGKILL, lost.stderr.read()
    assert left.returncode == 0, err
    assert out == "host 1 of 2: its share is done, the rest is for host 0\n"
    # Two devices have trained; the numbers of one are close to theirs.
    kernels = [
        load_target(tmp_path / name / "target").params["first"]["kernel"]
        for name in ("one", "both")
    ]
    np.testing.assert_allclose(*kernels, rtol=1e-4, atol=2e-6)
    # All start again: the training is done, and the first writes the numbers.
    first, other = joined(both)
    out, err = first.communicate(timeout=300)
    assert first.returncode == 0, err
    assert f"report: {both / 'report' / 'index.html'}" in out
    assert other.wait(60) == 0, other.stderr.read()
