"""--profile: a trace of bounded length for each kind of work."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from score_mia import profiling
from score_mia.check import UserError
from tests.test_engine import run, target

__all__ = ["target"]


def traces(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def test_a_trace_is_there_and_is_not_empty(target, tmp_path, capsys):
    with profiling.into(tmp_path / "trace"):
        run(target, tmp_path / "rows", tile=2, devices=1)
    files = traces(tmp_path / "trace" / "probe" / "plugins" / "profile")
    names = {"".join(path.suffixes[-2:]) for path in files}
    assert any(path.name.endswith(".xplane.pb") for path in files), names
    assert any(path.name.startswith("perfetto_trace") for path in files)
    assert all(path.stat().st_size > 100 for path in files)
    told = capsys.readouterr().err
    assert str(tmp_path / "trace" / "probe") in told
    assert "xprof" in told
    assert "ui.perfetto.dev" in told


@pytest.fixture
def events(monkeypatch):
    """What is begun and ended, without a profiler."""
    made = []
    start, stop = "start_trace", "stop_trace"
    monkeypatch.setattr(jax.profiler, start, lambda at, **_: made.append(at.name))
    monkeypatch.setattr(jax.profiler, stop, lambda: made.append("end"))
    return made


def test_a_window_is_bounded_and_each_kind_of_work_has_one(events, tmp_path):
    value = jnp.zeros(())
    with profiling.into(tmp_path):
        for _ in range(3):
            profiling.tick("train", value)
        for _ in range(2 * profiling.CALLS + 2):
            profiling.tick("a signal/of mine", value)
        assert events == ["train", "end", "a-signal-of-mine", "end"]
        profiling.tick("train", value)
        profiling.tick("samples", value)
    assert events[4:] == ["samples", "end"]


def test_without_a_folder_or_work_there_is_no_trace(events, tmp_path, capsys):
    with profiling.into(None):
        profiling.tick("train", 0)
    with profiling.into(tmp_path):
        pass
    profiling.tick("train", 0)
    assert events == []
    assert "nothing was computed" in capsys.readouterr().err


def test_hosts_have_folders_of_their_own(events, tmp_path):
    with profiling.into(tmp_path, 1) as _:
        place = profiling._NOW[-1].place("train")
    assert place == tmp_path / "host-1" / "train"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="--profile"),
        profiling.into(tmp_path / "file" / "x"),
    ):
        profiling.tick("train", jnp.zeros(()))
