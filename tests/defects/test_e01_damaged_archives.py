"""Archives with a flipped flag, an absurd shape or a header that is no Python ended in
tracebacks (RuntimeError, MemoryError, TokenError), as did names that no disk takes.
"""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from score_mia import files
from score_mia.check import UserError
from score_mia.data.given import files as split_files
from score_mia.data.local import arrays
from tests.data.makers import source_of


def archive(header: str) -> bytes:
    """An npz whose arrays have this header."""
    text = header.encode().ljust(117) + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name in ("images", "members", "nonmembers"):
            file.writestr(f"{name}.npy", start + text + bytes(64))
    return out.getvalue()


WHOLE = "{'descr': '<i8', 'fortran_order': False, 'shape': (8,), }"


def encrypted() -> bytes:
    """The flag of an encrypted member, in both of its places."""
    data = bytearray(archive(WHOLE))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + place] |= 1
            at = data.find(mark, at + 4)
    return bytes(data)


def other_method(method: int) -> bytes:
    """Members that say they are packed another way than they are."""
    data = bytearray(archive(WHOLE))
    for mark, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.find(mark)
        while at >= 0:
            data[at + place] = method
            at = data.find(mark, at + 4)
    return bytes(data)


DAMAGED = {
    "encrypted": encrypted(),
    "enormous": archive(WHOLE.replace("(8,)", f"({2**60},)")),
    "overflowing": archive(WHOLE.replace("(8,)", f"({2**62}, {2**62})")),
    "negative": archive(WHOLE.replace("(8,)", "(-8,)")),
    "unclosed": archive(WHOLE.replace("}", "(")),
    "no Python": archive("\x00\x00 = '"),
    "deep": archive("(" * 100),
    "other keys": archive("{'descr': '<i8'}"),
    "type of objects": archive(WHOLE.replace("<i8", "|O")),
    "no type": archive(WHOLE.replace("<i8", "<q9")),
    "LZMA": other_method(14),
    "BZ2": other_method(12),
    "unknown method": other_method(99),
}

READERS = {
    "load_npz": lambda path: files.load_npz(path, ("members",), sealed=False),
    "sealed": lambda path: files.load_npz(path, ("members",)),
    "split": lambda path: split_files(source_of(np.zeros((20, 2, 2, 1))), path),
    "data": lambda path: arrays(path, key="images"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive_is_one_line(tmp_path, kind, reader):
    path = tmp_path / "damaged.npz"
    path.write_bytes(DAMAGED[kind])
    with pytest.raises(UserError, match=r"damaged.npz .*; ") as refused:
        READERS[reader](path)
    assert "\n" not in str(refused.value)


def test_names_that_no_disk_takes_are_one_line(tmp_path):
    path = tmp_path / ("x" * 300)
    with pytest.raises(UserError, match=r"File name too long\); give shorter names"):
        files.save_json(path, {})
    for load in (files.load_json, files.load_sealed, lambda p: files.load_npz(p, ())):
        with pytest.raises(UserError, match=r"file .*x: File name too long; check"):
            load(path)
    assert not list(tmp_path.iterdir())
