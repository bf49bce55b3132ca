"""Paths of buckets: what of a `Path` means something there, and what fails at once."""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from score_mia import bucket, check, files, storage
from score_mia.check import Unreachable, UserError
from score_mia.storage import ObjectPath, locate


def test_a_folder_is_a_plain_path(tmp_path):
    assert type(locate(str(tmp_path))) is type(Path())
    assert locate(tmp_path) is not None
    assert locate("s3") == Path("s3")


def test_names_are_taken_apart_and_put_together():
    run = locate("s3://bucket//run/")
    path = run / "signals" / "a-1.npz"
    assert str(path) == f"{path}" == "s3://bucket/run/signals/a-1.npz"
    assert (path.name, path.stem, path.suffix) == ("a-1.npz", "a-1", ".npz")
    assert path.parent.parent == run
    assert path.with_suffix("").name == "a-1"
    assert path.relative_to(run).as_posix() == "signals/a-1.npz"
    assert len({path, locate(str(path))}) == 1
    assert sorted([run / "b", run / "a"])[0].name == "a"
    assert copy.deepcopy(path) == pickle.loads(pickle.dumps(path)) == path
    assert path != Path(str(path))


@pytest.mark.parametrize(
    "wrong", [Path, os.fspath, os.path.exists, open, np.load, shutil.rmtree]
)
def test_a_bucket_is_never_taken_for_a_folder(wrong):
    with pytest.raises(TypeError, match=r"s3://bucket/run is an object of a bucket"):
        wrong(locate("s3://bucket/run"))


def test_what_has_no_meaning_there_fails():
    path = locate("s3://bucket/run")
    for call in (path.touch, path.resolve, path.rmdir):
        with pytest.raises(TypeError, match="an object of a bucket"):
            call()
    with pytest.raises(TypeError, match="an object of a bucket"):
        path.rename("other")
    with pytest.raises(TypeError, match="an object of a bucket"):
        path.open("ab")
    with pytest.raises(TypeError):
        Path("a") / path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "ftp://bucket/run",
            "ftp:// is unknown; give a folder, s3://bucket/run or gs:",
        ),
        ("s3://", "names no bucket"),
        ("s3://bucket", "names no prefix"),
        ("s3://b?/run", "is no name of a bucket"),
        ("s3://bucket/a/../b", "has '..' in it"),
        (Path("s3://bucket/run"), "lost a slash"),
        ("s3://bucket/" + "a" * 800, "more than 700 bytes"),
    ],
)
def test_names_that_cannot_be_are_refused(name, told):
    with pytest.raises(UserError, match=told.replace("?", r"\?")):
        storage.workdir(name)


def test_commands_that_need_a_folder_say_so():
    with pytest.raises(UserError, match="is no folder; this command takes a folder"):
        check.workdir("s3://bucket/run")


def test_a_client_that_is_not_installed_is_named(monkeypatch):
    bucket._client.cache_clear()
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=r"gs:// needs the package gcsfs; .*\[gcs\]"):
        locate("gs://bucket/run").exists()


# --- objects -----------------------------------------------------------------------


def test_objects_are_put_read_and_deleted(room):
    path = locate(room) / "deep" / "a.txt"
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    with pytest.raises(FileNotFoundError):
        path.stat()
    path.unlink(missing_ok=True)
    path.write_text("æ")
    assert path.exists()
    assert path.is_file()
    assert path.read_text() == "æ"
    assert path.open("rb").read() == path.read_bytes()
    assert path.stat().st_size == 2
    path.write_bytes(b"other")
    assert path.read_bytes() == b"other"
    path.unlink()
    assert not path.exists()


def test_an_object_is_created_once(room):
    path = locate(room) / "once"
    assert path.create(b"first")
    assert not path.create(b"second")
    assert path.read_bytes() == b"first"


def test_listings_show_names_and_prefixes(room):
    run = locate(room)
    assert not run.is_dir()
    assert list(run.glob("*")) == list(run.rglob("*")) == []
    for name in ("a.json", "b.json", "in/c.json", "in/deep/d.txt"):
        (run / name).write_text(name)
    assert [p.name for p in run.glob("*.json")] == ["a.json", "b.json"]
    assert [p.name for p in run.iterdir()] == ["a.json", "b.json", "in"]
    assert [p.name for p in run.rglob("*.json")] == ["a.json", "b.json", "c.json"]
    assert (run / "in").is_dir()
    assert not (run / "in").exists()
    assert not (run / "i").is_dir()
    storage.remove_tree(run / "in")
    assert [p.name for p in run.rglob("*")] == ["a.json", "b.json"]


def test_whether_an_object_is_there_is_asked_every_time_and_once(room, gate):
    path = locate(room) / "a"
    assert not path.exists()
    bucket._client("s3").call_s3(
        "put_object", Bucket=path.parts[1], Key="run/a", Body=b"by another"
    )
    gate.asked.clear()
    assert path.exists()
    assert not (locate(room) / "b").exists()
    assert [method for method, _ in gate.asked] == ["HEAD", "HEAD"]
    assert storage.there(locate(room) / name for name in "abca") == [True, 0, 0, True]


def test_files_are_sealed_as_in_a_folder(room, tmp_path, gate):
    arrays = {"x": np.arange(5.0), "y": np.zeros((2, 3), np.uint8)}
    for folder in (tmp_path, locate(room)):
        files.save_npz(folder / "a.npz", **arrays)
        files.save_sealed(folder / "a.json", {"one": 1})
    for name in ("a.npz", "a.json"):
        there = (locate(room) / name).read_bytes()
        assert there == (tmp_path / name).read_bytes()
    gate.asked.clear()
    path = locate(room) / "a.npz"
    np.testing.assert_equal(files.load_npz(path, None), arrays)
    assert files.load_sealed(locate(room) / "a.json") == {"one": 1}
    assert [method for method, _ in gate.asked] == ["GET", "GET"]
    with pytest.raises(UserError, match=r"file s3://.*none.npz: does not exist"):
        files.load_npz(locate(room) / "none.npz", None)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"a.npz is damaged or no npz file"):
        files.load_npz(path, None)


# --- troubles ----------------------------------------------------------------------

SLOW = (503, "SlowDown")


def test_a_store_that_asks_to_be_slower_is_asked_again(room, gate):
    answers = [SLOW, (500, "InternalError"), SLOW]
    gate.refuse = lambda method, path: answers.pop() if answers else None
    path = locate(room) / "a"
    path.write_text("there")
    assert not answers
    answers[:] = [SLOW] * 2
    assert path.exists()
    answers[:] = [SLOW] * 2
    assert path.read_text() == "there"
    assert not answers


def test_but_not_for_ever(room, gate):
    gate.refuse = lambda method, path: SLOW
    with pytest.raises(
        Unreachable,
        match=r"cannot write s3://.*/run/a \(the store asks for fewer requests\); .*, "
        "then run the same command again: what was done is kept",
    ):
        (locate(room) / "a").write_text("never")
    assert len(gate.asked) == len(bucket.WAITS) + 1


def test_what_does_not_pass_is_told_at_once(room, gate):
    gate.refuse = lambda method, path: (403, "AccessDenied")
    path = locate(room) / "a"
    for call in (path.exists, path.read_bytes, path.unlink, lambda: path.create(b"")):
        with pytest.raises(Unreachable, match=r"s3://.*/a \(permission denied\)"):
            call()
    assert len(gate.asked) == 4
    # A store that cannot be asked is no damaged file: nobody is told to delete it.
    with pytest.raises(Unreachable):
        files.load_npz(path, None)


def test_a_bucket_that_is_not_there_is_told(gate):
    path = locate("s3://no-such-bucket/run")
    with pytest.raises(Unreachable, match="there is no such bucket"):
        bucket.require_bucket(path)
    with pytest.raises(Unreachable, match="there is no such bucket"):
        (path / "a").write_text("a")


def test_a_store_that_does_not_answer_is_told(environment, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    bucket._client.cache_clear()
    with pytest.raises(
        Unreachable, match=r"cannot look for .*does not answer\); check"
    ):
        locate("s3://bucket/run/a").exists()


def test_missing_credentials_are_told(environment, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    bucket._client.cache_clear()
    with pytest.raises(Unreachable, match=r"no credentials were found\); give them"):
        locate("s3://bucket/run/a").exists()


def test_a_store_without_conditional_writes_is_told(room, gate):
    gate.refuse = lambda method, path: (501, "NotImplemented")
    with pytest.raises(Unreachable, match="may be a conditional write"):
        (locate(room) / "a").create(b"")


def test_an_object_path_is_a_path():
    assert isinstance(locate("gs://bucket/run"), Path)
    assert isinstance(locate("gs://bucket/run"), ObjectPath)
