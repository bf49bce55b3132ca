"""gs:// by gcsfs, against an emulator that knows no conditional writes."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from score_mia import bucket, lease, rows
from score_mia.check import Unreachable, UserError
from score_mia.storage import locate
from tests.toys import Waves

pytest.importorskip("gcsfs")
emulator = pytest.importorskip("gcp_storage_emulator.server")


@pytest.fixture
def room(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = emulator.create_server(
        "127.0.0.1", port, in_memory=True, default_bucket="bucket"
    )
    server.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(bucket, "WAITS", (0.01,))
    bucket._client.cache_clear()
    lease._SEEN.clear()
    yield "gs://bucket/run"
    bucket._client.cache_clear()
    server.stop()


@pytest.mark.slow
def test_objects_parts_and_leases_of_gs(room, tmp_path, capsys):
    run = locate(room)
    bucket.require_bucket(run)
    with pytest.raises(Unreachable, match="there is no such bucket"):
        bucket.require_bucket(locate("gs://nope/run"))
    path = run / "in" / "a.json"
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        path.read_bytes()
    path.write_text("a")
    assert path.exists()
    assert not (run / "in").exists()
    assert path.stat().st_size == 1
    assert [p.name for p in run.iterdir()] == ["in"]
    assert [*run.rglob("*.json")] == [path]
    assert not [*(run / "none").glob("*")]
    path.unlink()
    path.unlink()
    assert not path.exists()
    with lease.lease(room):
        # The emulator knows no conditions, and that is told; gs itself does.
        assert "knows no conditional writes" in capsys.readouterr().err
        lease._SEEN.clear()
        with pytest.raises(UserError, match="is in use by process"), lease.lease(room):
            pass
        there = rows.compute(Waves(), np.arange(40), room + "/rows", shard=8)
    here = rows.compute(Waves(), np.arange(40), tmp_path, shard=8)
    for part in here.parts:
        assert there.path(part).read_bytes() == here.path(part).read_bytes()
