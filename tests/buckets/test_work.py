"""Parts, leases, hosts and targets in a bucket: what they do in a folder."""

from __future__ import annotations

import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from score_mia import checkpoint, hosts, lease, rows, trees
from score_mia.check import Unreachable, UserError
from score_mia.hosts import Host, HostFailed
from score_mia.process import Process
from score_mia.spec import parts
from score_mia.storage import ObjectPath, locate
from score_mia.train import log
from tests.buckets.conftest import copied
from tests.helpers import slow
from tests.toys import Waves
from tests.train.toys import MLP

pytest.importorskip("s3fs")
pytest.importorskip("moto")

IDS = np.arange(40)


def compute(folder, task=None, **how):
    return rows.compute(task or Waves(), IDS, folder, shard=8, **how)


# --- parts -------------------------------------------------------------------------


def test_parts_are_those_of_a_folder_to_the_bit(room, tmp_path, gate):
    here, there = compute(tmp_path), compute(room + "/rows")
    assert there.folder == locate(room) / "rows"
    for part in here.parts:
        assert there.path(part).read_bytes() == here.path(part).read_bytes()
    np.testing.assert_array_equal(there.array("values"), here.array("values"))
    assert rows.is_whole(room + "/rows")
    assert rows.devices(there.folder) == rows.devices(tmp_path)
    gate.asked.clear()
    compute(room + "/rows")  # finds every part by its name
    assert {method for method, _ in gate.asked} == {"HEAD", "GET"}
    assert not gate.count("GET", "list-type")


def test_a_part_costs_a_few_requests(room, gate):
    compute(room + "/rows")
    of_parts = [m for m, path in gate.asked if "part-" in path or "seconds-" in path]
    # Each: is it there; the times; the part; and is it there, at the end. Whether there
    # are times from before is asked once, for all.
    assert of_parts.count("PUT") == 2 * 5
    assert of_parts.count("GET") == 0
    assert of_parts.count("HEAD") == 2 * 5 + 1
    assert not gate.count("GET", "list-type")


def test_a_killed_run_goes_on_with_what_is_missing(room):
    class Dies(Waves):
        def __call__(self, ids, advance):
            if ids[0] >= 24:
                raise KeyboardInterrupt
            return super().__call__(ids, advance)

    with pytest.raises(KeyboardInterrupt):
        compute(room + "/rows", Dies())
    run = locate(room) / "rows"
    before = {p: p.stat().st_mtime for p in run.glob("part-*")}
    assert len(before) == 3
    compute(room + "/rows")
    assert len([*run.glob("part-*")]) == 5
    assert {p: p.stat().st_mtime for p in before} == before


def test_a_truncated_part_is_refused_and_only_it_is_computed_again(room):
    shards = compute(room + "/rows")
    values = shards.array("values")
    path = shards.path(2)
    path.write_bytes(path.read_bytes()[:-60])
    told = rf"{path} is damaged .*; delete it and run again: only its"
    with pytest.raises(UserError, match=told):
        compute(room + "/rows").array("values")
    path.unlink()
    np.testing.assert_array_equal(compute(room + "/rows").array("values"), values)


@pytest.mark.slow
def test_a_throttled_run_ends_with_the_same_parts(room, tmp_path, gate):
    turns = iter(range(10**6))
    gate.refuse = lambda *_: (503, "SlowDown") if next(turns) % 2 else None
    values = compute(room + "/rows").array("values")
    np.testing.assert_array_equal(values, compute(tmp_path).array("values"))


def test_what_cannot_be_written_is_told_and_what_was_done_is_kept(room, gate):
    gate.refuse = lambda method, path: (
        (403, "AccessDenied") if method == "PUT" and "part-00002" in path else None
    )
    with pytest.raises(Unreachable, match=r"cannot write s3://.*part-00002-of-00005"):
        compute(room + "/rows")
    gate.refuse = lambda method, path: None
    gate.asked.clear()
    compute(room + "/rows")
    assert gate.count("PUT", "part-") == 3


# --- leases and hosts --------------------------------------------------------------


def test_a_workdir_is_used_by_one_process(room):
    run = locate(room)
    with lease.lease(room):
        assert lease.holder(run, 0).process == lease.this_process()
        assert lease.holder(run, 1) is None
        lease._SEEN.clear()  # as another process sees it
        with pytest.raises(UserError, match="is in use by process"), lease.lease(room):
            pass
        with lease.lease(room, 1):
            assert lease.holder(run, 1) is not None
    assert lease.holder(run, 0) is None
    with lease.lease(room):
        pass


def test_the_newest_holder_is_found_without_a_listing(room, gate):
    for k in range(1, 7):
        lease._SEEN.clear()
        with lease.lease(room):
            newest = lease._newest(locate(room) / ".lease-00000")
            assert newest is not None
            assert newest.stem == f"{k:08d}"
    assert not gate.count("GET", "list-type")


def test_of_two_starts_at_once_one_wins(room, monkeypatch):
    run = locate(room)
    create = ObjectPath.create

    def late(path, data):
        monkeypatch.setattr(ObjectPath, "create", create)
        lease.take(run, 0, lambda: 999.0)  # the other comes between
        return create(path, data)

    monkeypatch.setattr(ObjectPath, "create", late)
    with pytest.raises(UserError, match="in use"):
        lease.take(run, 0, lambda: 1000.0)


def test_an_attempt_whose_answer_was_lost_is_ours(room, monkeypatch):
    create = ObjectPath.create
    monkeypatch.setattr(
        ObjectPath, "create", lambda path, data: create(path, data) and False
    )
    beat = lease.take(locate(room), 0, lambda: 1000.0)
    assert beat.renew()


def test_a_holder_that_is_silent_is_succeeded(room, monkeypatch):
    run, now = locate(room), [1000.0]
    elsewhere = Process("another", "boot", 1, "1")
    with monkeypatch.context() as patch:
        patch.setattr(lease, "this_process", lambda: elsewhere)
        first = lease.take(run, 0, lambda: now[0])
    assert lease.holder(run, 0, clock=lambda: now[0]).process == elsewhere
    now[0] += lease.BELIEVED + 1
    second = lease.take(run, 0, lambda: now[0])
    assert not first.renew()
    assert second.renew()
    first.release()  # says nothing: the other holds it
    assert lease.holder(run, 0, clock=lambda: now[0]).process == lease.this_process()
    second.release()
    assert lease.holder(run, 0, clock=lambda: now[0]) is None


def test_a_store_that_cannot_be_asked_has_no_free_lease(room, gate):
    with lease.lease(room):
        gate.refuse = lambda method, path: (403, "AccessDenied")
        with pytest.raises(Unreachable, match="permission denied"):
            lease.holder(locate(room), 0)
        with pytest.raises(Unreachable, match="permission denied"):
            lease.take(locate(room), 1, lambda: 0.0)
        gate.refuse = lambda method, path: None


def test_failures_are_asked_for_by_name(room, gate):
    run = locate(room)
    with lease.lease(room, 1):
        Host(1, 3, run).tell(run / "deep", UserError("disk: full; free"))
        Host(1, 3, run).tell(run, UserError("disk: full; free"))
        gate.asked.clear()
        with pytest.raises(HostFailed, match="host 1 of 3 failed: disk: full; free"):
            Host(0, 3, run).require_no_failure(run / "deep")
        Host(1, 3, run).require_no_failure(run / "deep")  # its own
        assert not gate.count("GET", "list-type")
        with Host(0, 3, run).stage():  # host 1 lives
            assert len([*run.rglob("failed-*")]) == 2
    with Host(0, 3, run).stage():
        assert not [*run.rglob("failed-*")]


# Computes waves as one of two hosts; host 1 stays in its second part.
PROGRAM = """
import sys
import numpy as np
from score_mia import hosts, rows
from score_mia.lease import lease
from score_mia.storage import locate
from tests.buckets.conftest import copied
from tests.helpers import slow
from tests.toys import Waves

class Slow(Waves):
    def __call__(self, ids, advance):
        if number == 1 and ids[0] >= 24:
            print("in it", flush=True)
            sys.stdin.read()
        return super().__call__(ids, advance)

folder, number = locate(sys.argv[1]), int(sys.argv[2])
hosts.POLL_BUCKET = 0.05
with lease(folder, number):
    host = hosts.Host(number, 2, folder)
    shards = rows.compute(Slow(), np.arange(40), folder / "rows", shard=8, host=host)
"""


def start(room, number):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, room, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_host_that_is_killed_is_replaced(room, tmp_path):
    with start(room, 1) as lost:
        assert lost.stdout.readline() == "in it\n"
        with start(room, 0) as left:
            said = (line for line in left.stderr if "waits for parts" in line)
            assert "host 1" in next(said)
            lost.kill()
            assert left.wait(120) == 0, left.stderr.read()
    values = compute(room + "/rows").array("values")
    np.testing.assert_array_equal(values, compute(tmp_path).array("values"))


def test_hosts_wait_longer_between_two_looks(room, tmp_path):
    assert hosts.poll(tmp_path) < hosts.poll(locate(room))


# --- targets -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights():
    params = jax.tree.map(np.asarray, parts(MLP).network.init(jax.random.key(0)))
    return params, jax.tree.map(lambda a: a + np.float32(0.25), params)


def bits(tree):
    return [np.asarray(a).tobytes() for a in jax.tree.leaves(tree)]


def test_a_target_is_kept_and_its_old_arrays_are_removed(room, weights, tmp_path):
    run = locate(room) / "target"
    checkpoint.save_target(run, MLP, *weights, {"step": 7})
    names = {p.name for p in run.iterdir()}
    assert checkpoint.has_arrays(run)
    for use, tree in zip(("params", "ema"), weights, strict=True):
        assert bits(checkpoint.load_target(run, use=use).params) == bits(tree)
    # A copy of it in a folder is a target, and so is a copy of that in a bucket.
    here = copied(run, tmp_path / "target")
    assert bits(checkpoint.load_target(here).params) == bits(weights[1])
    for index in run.rglob(trees.INDEX):
        index.unlink()
    assert bits(checkpoint.load_target(run).params) == bits(weights[1])
    other = jax.tree.map(lambda a: a + np.float32(1.0), weights[0])
    checkpoint.save_target(run, MLP, other, other, {"step": 8})
    assert {p.name for p in run.iterdir()} & names == {"target.json"}
    assert bits(checkpoint.load_target(run).params) == bits(other)


@pytest.mark.slow
def test_what_is_live_is_not_put_again(room, weights, gate):
    run = locate(room) / "target"
    checkpoint.save_target(run, MLP, *weights, {"step": 7})
    gate.asked.clear()
    checkpoint.save_target(run, MLP, *weights, {"step": 7, "more": 1})
    assert [path for m, path in gate.asked if m in ("PUT", "POST", "DELETE")] == [
        f"/{run.key}/target.json"
    ]


@pytest.mark.parametrize("how", ["cut", slow("gone")])
def test_a_damaged_target_is_refused(room, weights, how):
    run = locate(room) / "target"
    checkpoint.save_target(run, MLP, *weights, {"step": 7})
    largest = max(run.rglob("*"), key=lambda p: p.stat().st_size)
    if how == "cut":
        largest.write_bytes(largest.read_bytes()[:-1])
    else:
        largest.unlink()
    use = largest.relative_to(run).parts[0].partition("-")[0]
    with pytest.raises(UserError, match=r"s3://.*(damaged|is missing).*; restore it"):
        checkpoint.load_target(run, use=use)


@pytest.mark.slow
def test_states_are_kept_two_at_a_time_and_a_damaged_one_is_passed_over(room, weights):
    run = locate(room)
    assert checkpoint.load_state(run, weights[0]) is None
    for step, tree in enumerate((*weights, weights[0])):
        checkpoint.save_state(run, step, tree, {"spec": {}})
    assert [p.stem[-1] for p in (run / "state").glob("step-*.json")] == ["1", "2"]
    assert len([*(run / "state").iterdir()]) == 4
    found = checkpoint.load_state(run, weights[0])
    assert found.step == 2
    assert bits(found.tree) == bits(weights[0])
    (run / "state" / "step-00000002" / "_METADATA").write_bytes(b"{}")
    with pytest.warns(UserWarning, match="trying the state before it"):
        assert checkpoint.load_state(run, weights[0]).step == 1


@pytest.mark.slow
def test_a_state_that_cannot_be_asked_for_is_not_passed_over(room, weights, gate):
    run = locate(room)
    checkpoint.save_state(run, 1, weights[0], {"spec": {}})
    gate.refuse = lambda method, path: (
        (403, "AccessDenied") if method == "GET" and "step-" in path else None
    )
    with pytest.raises(Unreachable, match="permission denied"):
        checkpoint.load_state(run, weights[0])


def test_losses_are_appended_and_cut(room):
    path = locate(room) / "target" / "train.jsonl"
    for step in (1, 2, 3):
        log.append(path, {"step": step, "loss": 0.5})
    log.truncate(path, 2)
    assert log.read(path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.5}]


@pytest.mark.slow
def test_a_folder_that_was_copied_into_a_bucket_is_read_there(room, tmp_path, weights):
    checkpoint.save_target(tmp_path / "target", MLP, *weights, {"step": 7})
    run = locate(room)
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        (run / path.relative_to(tmp_path).as_posix()).write_bytes(path.read_bytes())
    shutil.rmtree(tmp_path / "target")
    assert checkpoint.place(str(run)) == run / "target"
    assert bits(checkpoint.load_target(run / "target").params) == bits(weights[1])
