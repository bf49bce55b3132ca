"""Files are whole or absent; damaged ones are named with the remedy."""

from __future__ import annotations

import errno
import os
import pickle
import stat

import numpy as np
import pytest

from score_mia import files
from score_mia.check import UserError


def test_write_replaces_the_whole_file_and_makes_folders(tmp_path):
    path = tmp_path / "new" / "deep" / "file"
    files.write_atomic(path, lambda file: file.write(b"long old content"))
    files.write_atomic(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, lambda file: file.write(b"old"))

    def write(file):
        file.write(b"half")
        file.flush()
        assert path.read_bytes() == b"old"
        file.write(b" and whole")

    files.write_atomic(path, write)
    assert path.read_bytes() == b"half and whole"


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    files.write_atomic(path, lambda file: file.write(b"old"))

    def full(file):
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match=r"file \(No space left on device\); free") as e:
        files.write_atomic(path, full)
    assert "\n" not in str(e.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*writable folder"):
        files.save_json(tmp_path / "file" / "below.json", {})


def test_npz_returns_what_was_saved_with_the_same_bytes(tmp_path):
    arrays = {
        "a": np.arange(6.0, dtype=np.float32).reshape(2, 3),
        "b": np.array("text"),
        "c": np.array([], np.int64),
    }
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    files.save_npz(one, **arrays)
    files.save_npz(two, **arrays)
    assert one.read_bytes() == two.read_bytes()
    loaded = files.load_npz(one, ("a", "b", "c"))
    for key, value in arrays.items():
        np.testing.assert_array_equal(loaded[key], value)
        assert loaded[key].dtype == value.dtype
    with pytest.raises(UserError, match=r"no array 'd'; it holds \['a', 'b', 'c'\]"):
        files.load_npz(one, ("a", "d"))


class Trap:
    """Pickled, it would run code when read."""

    ran = False

    def __reduce__(self):
        return (setattr, (Trap, "ran", True))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "trap.npz"
    np.savez(path, a=np.array([Trap()], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"damaged or no npz"):
        files.load_npz(path, ("a",))
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(UserError, match=r"damaged or no npz"):
        files.load_npz(path, ("a",))
    assert not Trap.ran


def test_missing_files_are_named(tmp_path):
    for load in (lambda p: files.load_npz(p, ()), files.load_json):
        with pytest.raises(UserError, match=r"none.* does not exist"):
            load(tmp_path / "none")


def test_json_round_trip_is_sorted_and_strict(tmp_path):
    path = tmp_path / "x.json"
    value = {"b": [1, 2.5, None], "a": {"text": "Ω", "yes": True}}
    files.save_json(path, value)
    assert files.load_json(path) == value
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    with pytest.raises(ValueError, match="JSON compliant"):
        files.save_json(path, {"x": float("nan")})
    assert files.load_json(path) == value
    for damaged in (b'{"a": ', b"", b"\xff\xfe"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"x.json is damaged .*delete it"):
            files.load_json(path)


def test_digest_sees_content_type_and_shape():
    a = np.arange(6, dtype=np.int32)
    different = [
        (a,),
        (a.reshape(2, 3),),
        (a.reshape(3, 2),),
        (a.astype(np.int64),),
        (a.view(np.float32),),
        (a[::-1],),
        (a, "text"),
        ("text", a),
        ("texu", a),
    ]
    assert len({files.digest(*parts) for parts in different}) == len(different)
    assert files.digest(a) == files.digest(np.repeat(a, 2)[::2])
    assert files.digest("text") == files.digest(b"text")
    # Fixed for all time: workdirs of earlier versions hold such digests.
    assert files.digest("score_mia") == "3a37a1fbe9c8d539"
