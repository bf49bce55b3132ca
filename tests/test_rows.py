"""The loop over rows: its law for every task, faults, and several hosts."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from score_mia import rows
from score_mia.check import UserError
from score_mia.files import load_npz, load_sealed, save_npz, save_sealed
from score_mia.hosts import Host, HostFailed, TaskError
from score_mia.lease import lease
from tests.toys import Normals, Waves

IDS = np.random.default_rng(5).permutation(2**40 + np.arange(400))[:75]
TASKS = (Waves(), Normals())


def compute(folder, task=TASKS[0], ids=IDS, shard=16, **how):
    return rows.compute(task, ids, folder, shard=shard, **how)


def content(shards) -> dict:
    return {name: shards.array(name) for name in ("ids", "values", "odd")}


def same(a, b) -> None:
    a, b = content(a), content(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("task", TASKS, ids=lambda t: type(t).__name__)
def test_order_cut_and_resumption_change_no_bit(tmp_path, task):
    whole = compute(tmp_path / "whole", task)
    np.testing.assert_array_equal(whole.array("ids"), np.sort(IDS))
    one = task(np.sort(IDS)[40:41], lambda *_, **__: None)
    np.testing.assert_allclose(whole.array("values")[40], one["values"][0], rtol=1e-6)
    same(compute(tmp_path / "order", task, IDS[::-1]), whole)
    same(compute(tmp_path / "cut", task, shard=64), whole)
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    (tmp_path / "torn" / rows.part_name(3, 5)).unlink()
    before = {p: p.read_bytes() for p in (tmp_path / "torn").glob("part-*")}
    same(compute(tmp_path / "torn", task, shard=64), whole)  # as it was begun
    assert all(p.read_bytes() == data for p, data in before.items())


def test_parts_are_read_one_by_one_and_only_what_is_asked_for(tmp_path):
    whole = compute(tmp_path)
    blocks = list(whole.blocks("odd"))
    assert [len(b["ids"]) for b in blocks] == [16, 16, 16, 16, 11]
    assert all(set(b) == {"ids", "odd"} for b in blocks)
    assert len(whole) == 75


def test_numbers_without_end_grow_and_keep_every_bit(tmp_path):
    def ask(folder, first, count):
        ids = np.arange(first, first + count)
        return compute(folder, TASKS[1], ids, 8, endless=True)

    whole = ask(tmp_path / "whole", 0, 30)
    grown = tmp_path / "grown"
    assert ask(grown, 19, 3).array("ids").tolist() == [19, 20, 21]
    assert [p.name for p in grown.glob("part*")] == ["part-00002.npz"]
    for first, count in ((0, 3), (2, 20), (0, 30)):
        part = ask(grown, first, count)
        expected = whole.array("values")[first : first + count]
        np.testing.assert_array_equal(part.array("values"), expected)


def test_time_and_device_of_the_parts_are_kept_apart_from_them(tmp_path):
    compute(tmp_path)
    record = load_sealed(tmp_path / "seconds-00000.json")["devices"]
    assert record.keys() == {"1 x toy"}
    assert record["1 x toy"]["parts"] == 5
    took = rows.seconds(tmp_path)
    assert took == record["1 x toy"]["seconds"] > 0
    (tmp_path / rows.part_name(1, 5)).unlink()
    assert not rows.is_whole(tmp_path)
    compute(tmp_path, dataclasses.replace(TASKS[0], device="2 x toy"))
    assert rows.is_whole(tmp_path)
    assert rows.devices(tmp_path) == ["1 x toy", "2 x toy"]
    record = load_sealed(tmp_path / "seconds-00000.json")["devices"]
    assert record["2 x toy"]["parts"] == 1
    assert rows.seconds(tmp_path) > took


def test_what_is_kept_of_the_time_does_not_grow_with_the_parts(tmp_path):
    sizes = []
    for ids in (IDS[:32], IDS):
        compute(tmp_path / str(len(ids)), ids=ids)
        sizes.append(len((tmp_path / str(len(ids)) / "seconds-00000.json").read_text()))
    assert abs(sizes[0] - sizes[1]) < 20


def test_times_that_were_kept_by_part_are_counted(tmp_path):
    old = {"00000": {"seconds": 2.0, "device": "toy"}}
    old["00001"] = {"seconds": 3.5, "device": "1 x toy"}
    save_sealed(tmp_path / "seconds-00000.json", {"parts": old})
    assert rows.seconds(tmp_path) == 5.5
    compute(tmp_path)
    assert rows.devices(tmp_path) == ["1 x toy", "toy"]
    assert rows.seconds(tmp_path) > 5.5


# --- what is refused ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"task": Waves(seed=4)}, r"seed=3, now it is 4; choose another folder or del"),
        ({"task": Normals()}, "made with task='waves', now it is 'normals'"),
        ({"ids": IDS[:70]}, "holds waves made with ids="),
        ({"ids": np.append(IDS, IDS[0])}, "an id is given twice"),
        ({"ids": IDS[:0]}, "there are no images"),
    ],
)
def test_other_rows_are_refused(tmp_path, how, said):
    compute(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(UserError, match=said):
        compute(tmp_path, **how)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_task_that_loses_rows_is_at_fault(tmp_path):
    class Short(Waves):
        def __call__(self, ids, advance):
            return super().__call__(ids[1:], advance)

    with pytest.raises(TaskError, match=r"'values': 15.* for 16 ids; let it return"):
        compute(tmp_path, Short())
    assert not list(tmp_path.glob("part-*"))


def truncate(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


def of_another_task(path: Path, chance: random.Random) -> None:
    if path.suffix == ".npz":
        arrays = load_npz(path, ("ids", "made", "values", "odd"))
        save_npz(path, **{**arrays, "made": np.asarray("other")})
    else:
        record = load_sealed(path)
        save_sealed(path, dict.fromkeys(record, "other"))


def of_other_ids(path: Path, chance: random.Random) -> None:
    if path.suffix == ".npz":
        arrays = load_npz(path, ("ids", "made", "values", "odd"))
        save_npz(path, **{**arrays, "ids": arrays["ids"] + 1})
    else:
        save_sealed(path, {**load_sealed(path), "ids": "other"})


def unsealed(path: Path, chance: random.Random) -> None:
    if path.suffix == ".npz":
        with np.load(path) as data:
            arrays = {k: data[k] for k in data if k != "seal"}
        np.savez(path, **arrays)
    else:
        record = load_sealed(path)
        path.write_text(json.dumps(record))


FAULTS = (truncate, empty, flip, delete, of_another_task, of_other_ids, unsealed)
FILES = ("part-00002-of-00005.npz", "manifest.json", "seconds-00000.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_with_its_remedy_or_changes_nothing(tmp_path, fault, name):
    whole = content(compute(tmp_path / "whole"))
    for seed in range(8 if fault is flip else 1):
        folder = shutil.copytree(tmp_path / "whole", tmp_path / f"spoilt-{seed}")
        fault(folder / name, random.Random(seed))
        if name.startswith("seconds"):
            (folder / rows.part_name(4, 5)).unlink()  # so that it is read
        for _ in range(2):
            try:
                again = content(compute(folder))
            except UserError as error:
                text = str(error)
                assert "\n" not in text
                assert str(folder) in text
                assert re.search("; .*delete", text)
                named = folder if "delete that folder" in text else folder / name
                shutil.rmtree(named) if named.is_dir() else named.unlink()
            else:
                assert all(np.array_equal(again[k], whole[k]) for k in whole)
                break
        else:
            pytest.fail(f"what a refusal advises does not help: {text}")


# --- several hosts -----------------------------------------------------------------


def host(workdir, number=0, count=2) -> Host:
    return Host(number, count, workdir)


def test_parts_of_hosts_that_are_not_there_are_taken_over(tmp_path):
    whole = compute(tmp_path / "whole")
    same(compute(tmp_path / "rows", host=host(tmp_path, 2, 3)), whole)
    assert (tmp_path / "rows" / "seconds-00002.json").exists()


class Recorded(Waves):
    def __call__(self, ids, advance):
        calls.append(int(ids[0]) // 16)
        return super().__call__(ids, advance)


calls: list[int] = []


@pytest.mark.parametrize(("number", "first"), [(0, [0, 2, 4]), (1, [1, 3])])
def test_a_host_computes_its_own_parts_first(tmp_path, number, first):
    calls.clear()
    ids = np.arange(80)
    compute(tmp_path / "rows", Recorded(), ids, host=host(tmp_path, number))
    assert calls[: len(first)] == first
    assert sorted(calls) == [0, 1, 2, 3, 4]


class Broken(Waves):
    error: Exception

    def __call__(self, ids, advance):
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (TaskError("waves: too high; go"), TaskError, "failed: waves: too high; go"),
        (ZeroDivisionError("by\nnothing"), TaskError, "ZeroDivisionError: by nothing"),
        (UserError("disk: full; free some"), HostFailed, "failed: disk: full; free"),
    ],
)
def test_whoever_waits_ends_with_the_reason_of_the_failure(tmp_path, error, kind, said):
    task = Broken()
    object.__setattr__(task, "error", error)
    with lease(tmp_path, 1), pytest.raises(type(error)):
        compute(tmp_path / "rows", task, host=host(tmp_path, 1))
    with pytest.raises(kind, match=rf"host 1 of 2 (failed: )?{said}"):
        compute(tmp_path / "rows", host=host(tmp_path))
    # Of what failed on one host nothing is told when it is alone.
    with host(tmp_path).stage():  # host 1 has gone: this start forgets it
        same(compute(tmp_path / "rows", host=host(tmp_path)), compute(tmp_path / "o"))


def test_a_start_forgets_its_own_failure_and_not_that_of_a_living_host(tmp_path):
    for number in (0, 1):
        host(tmp_path, number).tell(tmp_path / "deep", UserError("disk: full; free"))
    with lease(tmp_path, 1), host(tmp_path).stage():
        names = [p.name for p in tmp_path.rglob("failed-*")]
        assert names == ["failed-00001.json"]
        with pytest.raises(HostFailed, match="host 1 of 2 failed: disk: full; free"):
            host(tmp_path).require_no_failure(tmp_path / "deep")


def test_a_failed_stage_ends_those_who_wait_for_its_files(tmp_path):
    with pytest.raises(UserError), host(tmp_path).stage():
        raise UserError("train: diverged; lower the rate")
    with pytest.raises(HostFailed, match="host 0 of 2 failed: train: diverged; lower"):
        host(tmp_path, 1).wait_for("the target", lambda: False)
    host(tmp_path, 1).wait_for("the target", lambda: True)


def test_nobody_waits_for_ever_for_a_host_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("score_mia.hosts.PATIENCE", 0.0)
    with pytest.raises(UserError, match=r"the target of host 0: .*--host=0/2, then"):
        host(tmp_path, 1).wait_for("the target", lambda: False)


@pytest.mark.parametrize(
    "text", ["", "1", "2/2", "0/0", "-1/2", "1/2/3", "a/b", "0.5/2"]
)
def test_a_host_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"--host=.*; (give|count)"):
        Host.of(text)


# Computes waves as one of two hosts. Host 1 says when it is in its second part, and
# stays there.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from score_mia import hosts, rows
from score_mia.hosts import Host
from score_mia.lease import lease
from tests.toys import Waves

class Slow(Waves):
    def __call__(self, ids, advance):
        if number == 1 and ids[0] >= 48:
            print("in it", flush=True)
            sys.stdin.read()
        return super().__call__(ids, advance)

folder, number = Path(sys.argv[1]), int(sys.argv[2])
hosts.POLL = 0.01
with lease(folder, number):
    host = Host(number, 2, folder)
    task = Slow()
    shards = rows.compute(task, np.arange(75), folder / "rows", shard=16, host=host)
"""


def start(folder: Path, number: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_parts_of_a_killed_process_are_taken_over(tmp_path):
    with start(tmp_path, 1) as lost:
        assert lost.stdout.readline() == "in it\n", lost.stderr.read()
        with start(tmp_path, 0) as left:
            # While its owner lives a part is waited for.
            said = (line for line in left.stderr if "waits for" in line)
            assert next(said) == "waves: waits for parts of host 1\n"
            assert left.poll() is None
            lost.send_signal(signal.SIGKILL)
            assert left.wait(60) == 0
        assert lost.wait() == -signal.SIGKILL

    whole = rows.compute(Waves(), np.arange(75), tmp_path / "whole", shard=16)
    same(rows.compute(Waves(), np.arange(75), tmp_path / "rows", shard=16), whole)
    for path in (tmp_path / "whole").glob("part-*"):
        assert path.read_bytes() == (tmp_path / "rows" / path.name).read_bytes()
    by = {n: load_sealed(tmp_path / "rows" / f"seconds-{n:05d}.json") for n in (0, 1)}
    assert [sum(d["parts"] for d in by[n]["devices"].values()) for n in by] == [4, 1]
