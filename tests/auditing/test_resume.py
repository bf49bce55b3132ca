"""An audit that is killed (SIGKILL) and started again ends with the same numbers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import signal_folder

CONFIG = Path(__file__).with_name("tiny.py")

# Dies at the moment at which a file whose path holds the given text would be finished.
PROGRAM = """
import fnmatch, os, signal, sys
finish = os.replace
def replace(temporary, path, **rest):
    if sys.argv[1] and fnmatch.fnmatch(str(path), f"*{sys.argv[1]}*"):
        os.kill(os.getpid(), signal.SIGKILL)
    finish(temporary, path, **rest)
os.replace = replace
from score_mia.cli import main
sys.exit(main(["score-mia", *sys.argv[2:]]))
"""


def audit(workdir: Path, die_at: str = "") -> subprocess.CompletedProcess:
    flags = [f"--config={CONFIG}", f"--workdir={workdir}"]
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, die_at, "audit", *flags],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    )


def numbers(workdir: Path) -> bytes:
    """metrics.json, to the bit."""
    return (workdir / "metrics.json").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole")
    done = audit(workdir)
    assert done.returncode == 0, done.stderr
    assert f"report: {workdir / 'report' / 'index.html'}" in done.stdout
    return workdir


def test_three_kills_change_nothing(whole, tmp_path):
    points = ("step-00000040.json", "signals/loss-*/part-00002", "metrics.json")
    for point in points:
        died = audit(tmp_path, point)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert not list(tmp_path.rglob(f"{point}*"))
    assert (signal_folder(tmp_path, "loss") / "part-00001-of-00004.npz").exists()
    done = audit(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "train:" not in done.stderr  # it was finished before the second kill
    assert numbers(tmp_path) == numbers(whole)
    samples = "target/samples.npz"
    assert (tmp_path / samples).read_bytes() == (whole / samples).read_bytes()


def test_a_second_run_computes_nothing(whole):
    before = {
        p: p.stat().st_mtime_ns for p in (whole / "signals").rglob("*") if p.is_file()
    }
    again = audit(whole)
    assert again.returncode == 0, again.stderr
    assert "train:" not in again.stderr
    after = {
        p: p.stat().st_mtime_ns for p in (whole / "signals").rglob("*") if p.is_file()
    }
    assert after == before
