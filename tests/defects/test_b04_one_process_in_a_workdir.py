"""Two starts at once in one workdir either both failed with a wrong cause or spoilt
train.jsonl for ever, and what a killed process had half written stayed there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from score_mia import auditing, files, lease, report
from score_mia.auditing import plan as build
from score_mia.check import UserError
from score_mia.data.local import cached
from score_mia.process import Process, this_process
from tests.auditing.tiny import get_config

IDS = np.arange(2)

# Prints one line, "held" or the refusal, then holds until its input is closed.
HOLD = """
import os, sys
from pathlib import Path
from score_mia import files, lease
from score_mia.check import UserError

folder, locks = sys.argv[1:]
if locks == "none":
    def refused(handle, **kind):
        raise OSError(37, "No locks available")
    lease._flock = refused
sys.stdin.readline()
try:
    with lease.lease(folder):
        def half(file):
            print("held", flush=True)
            sys.stdin.read()
        files.write_atomic(Path(folder) / "whole", half)
except UserError as error:
    print(error, flush=True)
"""


@contextlib.contextmanager
def holder(folder: Path, locks: str):
    """A process that is ready to take the lease when it reads a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), locks],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def start(process) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.fixture(params=["flock", "none"])
def locks(request, monkeypatch):
    """Folders with locks, and folders that have none, as NFS may be."""
    if request.param == "none":
        forbid_locks(monkeypatch)
    return request.param


def forbid_locks(monkeypatch) -> None:
    def refused(handle: int, **kind: bool) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lease, "_flock", refused)


def take(folder: Path) -> None:
    with lease.lease(folder):
        pass


def temporary(folder: Path) -> list[Path]:
    return list(folder.rglob(".score_mia-*"))


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_a_living_holder_is_named_and_a_dead_one_succeeded(tmp_path, locks, end):
    with holder(tmp_path, locks) as process:
        start(process)
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError) as refused:
            take(tmp_path)
        text = str(refused.value)
        assert "\n" not in text
        assert f"process {process.pid} on {this_process().host} since 20" in text
        assert text.endswith("or stop it, or choose another --workdir")
        with lease.lease(tmp_path, 1):  # another host of the same run
            assert temporary(tmp_path)  # a living process is writing it
        if end is None:
            process.stdin.close()
        else:
            process.send_signal(end)
        assert process.wait() == (0 if end is None else -end)
        take(tmp_path)
        assert not temporary(tmp_path)
        assert (tmp_path / "whole").exists() == (end is None)


def test_of_two_starts_at_once_one_wins_and_the_other_gets_one_line(tmp_path, locks):
    with holder(tmp_path, locks) as one, holder(tmp_path, locks) as two:
        for process in (one, two):
            start(process)
        said = sorted(p.stdout.readline() for p in (one, two))
        assert said[0] == "held\n"
        assert "is in use by" in said[1]


def test_a_lease_ends_with_its_block_and_with_an_exception(tmp_path, locks):
    for _ in range(2):
        with lease.lease(tmp_path), pytest.raises(UserError, match=f"{os.getpid()}"):
            take(tmp_path)
        with pytest.raises(ZeroDivisionError), lease.lease(tmp_path):
            raise ZeroDivisionError
    take(tmp_path)


class Clock:
    now = 1e9

    def __call__(self) -> float:
        return self.now


def change(path: Path, **changes: object) -> None:
    """Make the holder another process."""
    record = files.load_sealed(path)
    process = {**record["process"], **changes}
    files.save_sealed(path, {**record, "process": process})


def elsewhere(path: Path, **changes: object) -> None:
    """Make the holder one of another machine."""
    change(path, host="elsewhere", **changes)


def test_a_silent_holder_on_another_machine_is_believed_for_a_while(tmp_path):
    clock = Clock()
    lost = lease.take(tmp_path, 0, clock)
    elsewhere(lost.path)
    for _ in range(3):
        clock.now += lease.BELIEVED - 1
        with pytest.raises(UserError, match="on elsewhere since 2001-09-09"):
            lease.take(tmp_path, 0, clock)
        assert lost.renew()
        elsewhere(lost.path)
    clock.now += lease.BELIEVED + 1
    mine = lease.take(tmp_path, 0, clock)
    assert not lost.renew()
    lost.release()
    with pytest.raises(UserError, match="in use"):
        lease.take(tmp_path, 0, clock)
    mine.release()
    lease.take(tmp_path, 0, clock)


def test_a_holder_of_this_machine_that_died_is_succeeded_at_once(tmp_path):
    with subprocess.Popen(["true"]) as process:
        process.wait()
    clock = Clock()
    last = lease.take(tmp_path, 0, clock)
    for changes in ({"pid": process.pid}, {"start": "1"}):
        change(last.path, **changes)
        last = lease.take(tmp_path, 0, clock)
    # Another start of the machine, or another container: only time can tell.
    change(last.path, boot="other")
    with pytest.raises(UserError, match="in use"):
        lease.take(tmp_path, 0, clock)


def test_a_damaged_lease_blocks_nobody_for_long(tmp_path):
    clock = Clock()
    last = lease.take(tmp_path, 0, clock)
    last.path.write_text("{")
    clock.now = last.path.stat().st_mtime + lease.BELIEVED - 1
    with pytest.raises(UserError, match="in use by another process"):
        lease.take(tmp_path, 0, clock)
    clock.now += 2
    assert lease.take(tmp_path, 0, clock).path.name == "00000002.json"


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file cannot be used .*another --workdir"):
        take(tmp_path / "file")


def test_only_temporary_files_of_the_dead_are_removed(tmp_path):
    me = this_process()
    gone = Process(me.host, me.boot, me.pid, "1")
    other = Process("elsewhere", "", 1, "1")
    paths = {}
    for name, process in (("me", me), ("gone", gone), ("new", other), ("old", other)):
        prefix = f".score_mia-{process.room}-{process.pid}-{process.start}"
        paths[name] = tmp_path / "deep" / f"{prefix}-{name}.tmp"
        paths[name].parent.mkdir(exist_ok=True)
        paths[name].write_bytes(b"half")
    odd = tmp_path / ".score_mia-odd.tmp"
    odd.write_bytes(b"")
    os.utime(paths["old"], (1e9, 1e9))
    assert files.remove_orphans(tmp_path) == 2
    assert {p.name for p in tmp_path.rglob("*.tmp")} == {
        *(odd.name, paths["me"].name, paths["new"].name)
    }


def test_what_a_killed_process_left_in_a_cache_of_pixels_is_removed(tmp_path):
    me = this_process()
    half = tmp_path / f".score_mia-{me.room}-{me.pid}-1-half.tmp"
    half.write_bytes(b"half of some gigabytes")
    pixels = np.zeros((2, 2, 2, 1), np.uint8)
    for _ in range(2):
        parts = cached(tmp_path, "key", lambda: {"pixels": pixels, "ids": IDS})
        assert np.array_equal(parts["ids"], IDS)
    assert not half.exists()


def test_processes_are_told_apart():
    me = this_process()
    assert me.alive
    with subprocess.Popen(["true"]) as process:
        # A killed child stays as a name without a life until its parent asks for it.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        start = lease_start(process.pid)
        assert Process(me.host, me.boot, process.pid, start).alive is False
    assert Process("elsewhere", me.boot, me.pid, me.start).alive is None
    assert Process(me.host, me.boot, 2**40, "").alive is False


def lease_start(pid: int) -> str:
    stat = Path(f"/proc/{pid}/stat")
    return stat.read_text().split()[21] if stat.exists() else ""


STAGES = {
    "audit": auditing.run,
    "train": auditing.train,
    "import": lambda p, w: auditing.import_target(p, w, "model.pth"),
    "attack": auditing.attack,
    "report": lambda p, w: report.make(w),
    "generate": lambda p, w: auditing.generate(p, w, 4),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_that_writes_is_refused_beside_a_living_one(tmp_path, stage):
    with lease.lease(tmp_path), pytest.raises(UserError, match="is in use by process"):
        STAGES[stage](build.plan(get_config()), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {".lease-00000.lock"}


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
def test_who_holds_a_lease_is_told_and_the_dead_hold_none(tmp_path, locks, end):
    assert lease.holder(tmp_path, 0) is None
    with holder(tmp_path, locks) as process:
        start(process)
        assert process.stdout.readline() == "held\n"
        held = lease.holder(tmp_path, 0)
        assert held is not None
        assert held.process.pid == process.pid
        assert lease.holder(tmp_path, 1) is None
        if end is None:
            process.stdin.close()
        else:
            process.send_signal(end)
        process.wait()
        assert lease.holder(tmp_path, 0) is None
