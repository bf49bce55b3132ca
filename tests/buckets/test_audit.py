"""A whole audit in a bucket: the numbers of one in a folder, to the bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from score_mia import auditing, report
from score_mia.auditing import plan as planning
from score_mia.auditing.door import load
from score_mia.auditing.verify import verify
from score_mia.check import UserError
from score_mia.cli import main
from score_mia.storage import locate
from tests.auditing import tiny_quality
from tests.buckets.conftest import copied
from tests.defects.test_fault_matrix import numbers

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytestmark = pytest.mark.slow

CONFIG = Path(tiny_quality.__file__)

# Dies at the moment at which an object whose name holds the given text would be put.
PROGRAM = """
import os, signal, sys
from score_mia import hosts, storage
put = storage.ObjectPath.write_bytes
def write_bytes(path, data):
    if sys.argv[1] and sys.argv[1] in str(path):
        os.kill(os.getpid(), signal.SIGKILL)
    return put(path, data)
storage.ObjectPath.write_bytes = write_bytes
hosts.POLL_BUCKET = 0.1
from score_mia.cli import main
sys.exit(main(["score-mia", *sys.argv[2:]]))
"""


def start(workdir, *flags: str, die_at: str = "") -> subprocess.Popen:
    words = ["audit", f"--config={CONFIG}", f"--workdir={workdir}", *flags]
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, die_at, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
    )


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    with start(folder) as one:
        assert one.wait(600) == 0, one.stderr.read()
    return folder


def kept(folder):
    """Names of what a run leaves, without leases."""
    names = (p.relative_to(folder).as_posix() for p in folder.rglob("*"))
    return {n for n in names if ".lease" not in n and not n.endswith(".files.json")}


def test_an_audit_in_a_bucket_is_that_of_a_folder(alone, room, gate, capsys, tmp_path):
    with start(room) as one:
        out, err = one.communicate(timeout=600)
        assert one.returncode == 0, err
    run = locate(room)
    assert f"report: {room}/report/index.html" in out
    assert numbers(run) == numbers(alone)
    files = {n for n in kept(alone) if (alone / n).is_file()}
    arrays = ("target/ema-", "target/params-", "target/state/")
    assert {n for n in kept(run) if not n.startswith(arrays)} == {
        n for n in files if not n.startswith(arrays)
    }
    # The page tells seconds; made of a copy in a folder it is the same to the bit.
    page = "report/index.html"
    report.make(copied(run, tmp_path / "copy"))
    assert (run / page).read_bytes() == (tmp_path / "copy" / page).read_bytes()
    assert verify(room).differing == verify(alone).differing
    # All is done: a second start changes nothing of it, and puts no part.
    gate.asked.clear()
    assert main(["score-mia", "report", f"--workdir={room}"]) == 0
    assert not gate.count("PUT", "part-")
    assert (run / page).read_bytes() == (tmp_path / "copy" / page).read_bytes()
    assert main(["score-mia", "verify", room]) == 0
    assert "0 of" in capsys.readouterr().out
    load(room)


def test_a_killed_audit_goes_on(alone, room, gate):
    for moment in ("step-00000040.json", "part-00002-of-00004", "metrics.json"):
        with start(room, die_at=moment) as lost:
            assert lost.wait(600) == -signal.SIGKILL, lost.stderr.read()
    with start(room) as last:
        assert last.wait(600) == 0, last.stderr.read()
    assert numbers(locate(room)) == numbers(alone)


def test_two_hosts_share_a_bucket_of_which_one_is_killed(alone, room):
    with start(room, "--host=1/2", die_at="part-00003-of-00004") as lost:
        said = (line for line in lost.stderr if "waits" in line)
        assert next(said) == "host 1 of 2: waits for the target of host 0\n"
        with start(room, "--host=0/2") as left:
            assert lost.wait(600) == -signal.SIGKILL
            _, err = left.communicate(timeout=600)
            assert left.returncode == 0, err
    assert numbers(locate(room)) == numbers(alone)


def test_a_throttled_audit_ends_with_the_same_numbers(alone, room, gate):
    turns = iter(range(10**6))
    gate.refuse = lambda *_: (503, "SlowDown") if next(turns) % 5 == 0 else None
    with start(room) as one:
        assert one.wait(600) == 0, one.stderr.read()
    assert numbers(locate(room)) == numbers(alone)


def test_a_store_that_is_lost_on_the_way_costs_nothing_that_was_done(
    alone, room, gate, monkeypatch
):
    plan = planning.plan(tiny_quality.get_config())
    gate.refuse = lambda method, path: (
        (403, "AccessDenied") if method == "PUT" and "part-00001" in path else None
    )
    with pytest.raises(UserError, match=r"cannot write s3://.*part-00001.*denied"):
        auditing.run(plan, room)
    gate.refuse = lambda *_: None
    gate.asked.clear()
    auditing.run(plan, room)
    assert not gate.count("PUT", "state/")
    assert not gate.count("PUT", "part-00000-of-00004")
    report.make(room)
