"""Files of torch.save are read as data; whatever else they are is told in one line."""

from __future__ import annotations

import lzma
import os
import pickle
import pickletools
import zipfile

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.interop.unpickle import read_torch
from tests.interop.golden import GOLDEN
from tests.interop.writer import Call, legacy, tensor, zipped


def refused(path, entries=("model",)):
    with pytest.raises(UserError) as caught:
        read_torch(path, entries)
    (line,) = str(caught.value).splitlines()
    assert str(path) in line
    assert ";" in line
    return line


def test_views_share_a_storage(tmp_path):
    tree = {
        "model": {
            "whole": tensor((2, 3)),
            "turned": tensor((3, 2), strides=(1, 3)),
            "part": tensor((2,), offset=4),
            "none": tensor((0, 3)),
            "scalar": tensor((), offset=5),
        },
        "ema": {"shadow_params": [tensor((6,))], "decay": 0.5},
        "step": 7,
    }
    found = read_torch(zipped(tmp_path / "x.pth", tree), ("model", "ema", "step", "no"))
    assert set(found) == {"model", "ema", "step"}
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = found["model"]
    np.testing.assert_array_equal(model["whole"], whole)
    np.testing.assert_array_equal(model["turned"], whole.T)
    np.testing.assert_array_equal(model["part"], [4, 5])
    assert model["none"].shape == (0, 3)
    assert model["scalar"] == 5
    assert found["ema"]["decay"] == 0.5
    assert found["step"] == 7


def test_the_older_format(tmp_path):
    tree = {
        "model": tensor((2, 3), key="b"),
        "ema": tensor((2,), "LongStorage", "a", 2),
        "step": 7,
    }
    numbers = {"b": np.arange(6, dtype=np.float32), "a": np.array([5, 2**40])}
    path = legacy(tmp_path / "old.pth", tree, numbers)
    found = read_torch(path, ("model", "ema", "step"))
    np.testing.assert_array_equal(found["model"], numbers["b"].reshape(2, 3))
    np.testing.assert_array_equal(found["ema"], numbers["a"])
    assert found["step"] == 7
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        refused(_written(path, whole[:length]))
    legacy(path, tree, {**numbers, "b": numbers["b"][:5]})
    assert "another length" in refused(path)
    legacy(path, {"model": Call("os", "system", "true")}, {})
    assert "os.system" in refused(path)


def test_only_what_is_asked_for_is_read(tmp_path):
    tree = {"model": tensor((6,)), "optimizer": tensor((6,), key="not there")}
    path = zipped(tmp_path / "x.pth", tree)
    assert read_torch(path, ("model",))["model"].shape == (6,)
    assert "damaged" in refused(path, ("optimizer",))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("posix", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("score_mia.cli", "main"),
        ("collections.OrderedDict", "fromkeys"),
    ],
)
def test_names_that_could_run_code(module, name, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it ran"))
    evil = {"model": {}, "else": Call(module, name, "true")}
    line = refused(zipped(tmp_path / "evil.pth", evil))
    assert f"{module}.{name}" in line
    assert "could run code" in line


def assembled(*parts) -> bytes:
    return pickle.PROTO + b"\x02" + b"".join(parts) + pickle.STOP


@pytest.mark.parametrize(
    "code",
    [
        # an object of a class, by three opcodes
        assembled(b"(", b"icollections\nOrderedDict\n"),
        assembled(b"(", b"ccollections\nOrderedDict\n", b"o"),
        assembled(b"ccollections\nOrderedDict\n", b")", b"\x81"),
        # an extension, and a claim of 2^40 bytes
        assembled(b"\x82\x01"),
        assembled(b"\x96" + (2**40).to_bytes(8, "little")),
        # a storage that is called, and one that is no storage
        assembled(b"ctorch\nFloatStorage\n", b")", b"R"),
        assembled(b"}", b"Q"),
        # nothing, too little, too much
        b"",
        b"\x80\x02}",
        assembled(b"\x8a\xff" + b"\x01" * 3),
        assembled(b"X\xff\xff\xff\x7fabc"),
        assembled(b"h\x05"),
        # no dict
        assembled(b"]"),
        assembled(b"K\x05"),
    ],
)
def test_other_programs(code, tmp_path):
    refused(zipped(tmp_path / "x.pth", code))
    (tmp_path / "y.pth").write_bytes(code)
    refused(tmp_path / "y.pth")


def test_attributes_are_not_set(tmp_path):
    """BUILD, which torch uses for the version of a state dict, changes nothing."""
    code = assembled(
        *(b"}", b"X\x05\x00\x00\x00model"),
        *(b"ccollections\nOrderedDict\n", b")", b"R"),
        *(b"}", b"X\x09\x00\x00\x00_metadata", b"K\x01", b"s", b"b", b"s"),
    )
    assert "BUILD" in {op.name for op, _, _ in pickletools.genops(code)}
    assert read_torch(zipped(tmp_path / "x.pth", code), ("model",)) == {"model": {}}


@pytest.mark.parametrize(
    "value",
    [
        tensor((7,)),  # beyond the storage
        tensor((6,), offset=1),
        tensor((2, 2), strides=(4, 2)),
        tensor((2**20, 2**20), strides=(0, 0)),  # one number, shown 2^40 times
        tensor((6,), strides=(-1,)),
        tensor((-6,)),
        tensor((6,), count=7),  # the storage is not so large
        tensor((6,), count=5),
        tensor((6,), count=-6),
        tensor((2**30,), count=2**30),
        tensor((6,), kind="DoubleStorage"),
        tensor((6,), key="../data.pkl"),
        Call("torch._utils", "_rebuild_tensor_v2", 1, 0, (6,), (1,)),
        Call("numpy", "dtype", "O8", False, True),
        Call("_codecs", "encode", "a", "zlib"),
    ],
)
def test_sizes_that_do_not_agree(value, tmp_path):
    refused(zipped(tmp_path / "x.pth", {"model": value}))


def test_the_same_storage_as_two_types(tmp_path):
    value = [tensor((6,)), tensor((3,), kind="LongStorage", count=3)]
    found = read_torch(zipped(tmp_path / "x.pth", {"model": value}), ("model",))
    assert found["model"][1].dtype == np.int64  # read within its bytes, or refused
    many = [tensor((6,), kind=f"{k}Storage") for k in ("Float", "Int")] * 99
    assert len(read_torch(zipped(tmp_path / "y", {"model": many}), ("model",))) == 1


def test_structures_that_would_explode(tmp_path):
    shared = [0]
    for _ in range(40):
        shared = [shared, shared]
    refused(zipped(tmp_path / "deep.pth", {"model": shared}))
    wide = [[tensor((6,))]] * 10**5  # one list, shown often
    found = read_torch(zipped(tmp_path / "wide.pth", {"model": wide}), ("model",))
    assert found["model"][0] is found["model"][-1]
    many = [tensor((6,)) for _ in range(100)]  # as many views, no copies
    found = read_torch(zipped(tmp_path / "many.pth", {"model": many}), ("model",))
    assert len({a.__array_interface__["data"][0] for a in found["model"]}) == 1


def test_compressed_members_are_no_torch_files(tmp_path):
    path = tmp_path / "bomb.pth"
    zeros = {"0": bytes(2**20)}
    value = {"model": tensor((2**18,), count=2**18)}
    zipped(path, value, zeros, compression=zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(path)


@pytest.fixture(scope="module")
def genuine():
    return lzma.decompress((GOLDEN / "checkpoint_vesde.xz").read_bytes())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99, 0.9999])
def test_truncated_files(share, genuine, tmp_path):
    path = tmp_path / "short.pth"
    path.write_bytes(genuine[: int(share * len(genuine))])
    refused(path, ("model", "ema"))


def test_flipped_bytes_are_noticed(genuine, tmp_path):
    """Those of a tensor by the archive's checksum; others may be in what is unread."""
    path = tmp_path / "flipped.pth"
    whole = read_torch(_written(path, genuine), ("model",))["model"]
    name, array = max(whole.items(), key=lambda item: item[1].size)
    place = genuine.find(array.astype(array.dtype, copy=False).tobytes())
    assert place > 0, name
    for at in range(place, place + array.nbytes, array.nbytes // 7):
        spoilt = bytearray(genuine)
        spoilt[at] ^= 0x10
        refused(_written(path, bytes(spoilt)))
    random = np.random.RandomState(0)
    for at in random.randint(0, len(genuine), 20):
        spoilt = bytearray(genuine)
        spoilt[at] ^= 1 << random.randint(8)
        try:
            found = read_torch(_written(path, bytes(spoilt)), ("model",))["model"]
        except UserError:
            continue
        for key, value in found.items():
            if key in whole:
                np.testing.assert_array_equal(value, whole[key])


def _written(path, data):
    path.write_bytes(data)
    return path


def test_missing_files_and_folders(tmp_path):
    assert "does not exist" in refused(tmp_path / "none.pth")
    refused(tmp_path)
