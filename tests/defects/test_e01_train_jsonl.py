"""A torn or spoilt line of train.jsonl ended the report, and a resumed training, with a
traceback; lines were appended without being brought to the disk.
"""

from __future__ import annotations

import json
import os

import pytest

from score_mia.train import log

from .tiny_work import refused

LINES = [{"step": 10 * k, "loss": 1 / k} for k in range(1, 5)]
SPOILT = [
    b'{"step": 50, "lo',
    b"\xff\xfe\x00garbage",
    b"\0" * 64,
    b"[50, 0.5]",
    b"7",
    b'{"step": "50", "loss": 0.5}',
    b'{"step": 50}',
    b'{"step": 50, "loss": NaN}',
    b'{"step": 50, "loss": "low"}',
    b'{"step": true, "loss": 0.5}',
    b"[" * 100_000,
]


@pytest.fixture
def path(tmp_path):
    for line in LINES:
        log.append(tmp_path / "train.jsonl", line)
    return tmp_path / "train.jsonl"


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_torn_end_is_dropped(path, spoilt):
    assert log.read(path) == LINES
    path.write_bytes(path.read_bytes() + spoilt)
    assert log.read(path) == LINES
    log.truncate(path, 30)
    assert log.read(path) == LINES[:3]
    log.append(path, LINES[3])
    assert path.read_bytes() == b"".join(json.dumps(x).encode() + b"\n" for x in LINES)


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_line_within_is_one_line_with_its_number(path, spoilt):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], spoilt + b"\n", *lines[2:]]))
    line = refused(log.read, path)
    assert f"{path} is damaged (line 2 " in line
    assert "delete that line" in line
    log.truncate(path, 100)  # a resumed training goes on without it
    assert log.read(path) == [LINES[0], *LINES[2:]]


def test_a_line_is_on_the_disk_before_training_goes_on(tmp_path, monkeypatch):
    brought = []
    monkeypatch.setattr(os, "fsync", lambda number: brought.append(os.fstat(number)))
    log.append(tmp_path / "train.jsonl", LINES[0])
    (status,) = brought
    assert status.st_size == (tmp_path / "train.jsonl").stat().st_size


def test_none_and_unreadable(tmp_path):
    assert log.read(tmp_path / "none.jsonl") == []
    log.truncate(tmp_path / "none.jsonl", 3)
    (tmp_path / "folder.jsonl").mkdir()
    assert "cannot be read" in refused(log.read, tmp_path / "folder.jsonl")
