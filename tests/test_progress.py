"""What long work says of itself, away from a terminal."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia import progress
from score_mia.data import near


def told(capfd, **options):
    """The lines of three steps of work."""
    with progress.Progress("work", 3, "rows", **options) as shown:
        for _ in range(3):
            shown.advance(1)
    return capfd.readouterr().err.splitlines()


def test_a_line_when_it_is_due_and_one_at_the_end(capfd, monkeypatch):
    (end,) = told(capfd)
    assert end.startswith("work: 3/3 rows, ")
    monkeypatch.setattr(progress, "_LINE_SECONDS", -1.0)
    first, second, end = told(capfd)
    assert first.startswith("work: 1/3 rows")
    assert first.endswith(" left")
    assert second.startswith("work: 2/3 rows")
    assert not end.endswith(" left")


def test_quiet_work_speaks_once_it_is_long(capfd, monkeypatch):
    assert told(capfd, quiet=True) == []
    monkeypatch.setattr(progress, "_LINE_SECONDS", -1.0)
    assert len(told(capfd, quiet=True)) == 3


def test_a_bar_of_quiet_work_is_not_drawn_before(monkeypatch):
    class Bar:
        task_ids = (0,)

        def __init__(self):
            self.calls = []

        def start(self):
            self.calls.append("start")

        def stop(self):
            self.calls.append("stop")

        def update(self, task, **shown):
            self.calls.append(shown["completed"])

    def called(quiet):
        shown = progress.Progress("work", 3, "rows", quiet=quiet)
        shown._bar = bar = Bar()
        with shown:
            shown.advance(1)
        return bar.calls

    assert called(quiet=False) == ["start", 1, "stop"]
    assert called(quiet=True) == [1, "stop"]
    monkeypatch.setattr(progress, "_LINE_SECONDS", -1.0)
    assert called(quiet=True) == ["start", 1, "stop"]


@pytest.mark.parametrize("patience", [15.0, -1.0])
def test_a_search_for_near_duplicates_says_how_far_it_is(capfd, monkeypatch, patience):
    monkeypatch.setattr(progress, "_LINE_SECONDS", patience)
    rows = np.random.default_rng(0).standard_normal((5000, 8)).astype(np.float32)
    group = near.boxes(lambda i, j: rows[i:j], len(rows))
    assert sum(len(a) for a, _ in near.within(group, 1e-9)) == 0
    lines = capfd.readouterr().err.splitlines()
    if patience > 0:
        assert not lines
    else:
        assert lines[0].startswith("near-duplicates, reading: 2048/5000 rows")
        assert any(line.startswith("near-duplicates: 5000/5000 rows") for line in lines)
        assert sum(" left" in line for line in lines) >= 4
