"""docs/results/benchmark: what made it, and that its boards follow from the scores."""

from __future__ import annotations

import csv
import io

import pytest

from score_mia.auditing import study
from score_mia.report.exhibits.base import Audit
from tests.papers.test_benchmark import get_config, kept
from tests.papers.test_mini_results import check_made_by
from tests.papers.test_studies import ROOT

RESULTS = ROOT / "docs" / "results" / "benchmark"
RUN = "ddpm,digits,0"
"""The argument of mini.py that is kept there."""
TARGETS = "ddpm,0,1"


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The study, planned where targets of its kind are."""
    folder = tmp_path_factory.mktemp("benchmark")
    for name, config in get_config("targets.py", TARGETS).audits.items():
        kept(folder / "runs" / "benchmark" / "targets" / name, config)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield study.plan(get_config("mini.py", RUN))


def test_it_was_made_by_its_config(planned):
    check_made_by(planned, RESULTS)
    assert {p.stem for p in (RESULTS / "exhibits").glob("*.csv")} == set(
        planned.exhibits
    )


@pytest.mark.parametrize("board", ["leaderboard", "digits"])
def test_every_cell_follows_from_the_scores(board, planned):
    exhibit = planned.exhibits[board]
    names = [name for of in exhibit.levels.values() for name in of]
    audits = [
        Audit(name, planned.labels.get(name, name), study.planned(plan), RESULTS / name)
        for name, plan in planned.audits.items()
        if name in names
    ]
    again = csv.DictReader(io.StringIO(exhibit.build(audits).csv))
    with (RESULTS / "exhibits" / f"{board}.csv").open(newline="") as file:
        for now, before in zip(again, csv.DictReader(file), strict=True):
            assert now == before
