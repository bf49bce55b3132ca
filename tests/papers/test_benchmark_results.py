"""docs/results of the benchmark and of power per evaluation: what made them, and that
their boards follow from the scores that are kept."""

from __future__ import annotations

import csv
import io

import pytest

from score_mia.auditing import study
from score_mia.report.exhibits.base import Audit
from tests.helpers import slow
from tests.papers.test_benchmark import get_config, kept
from tests.papers.test_mini_results import check_made_by
from tests.papers.test_studies import ROOT

RESULTS = ROOT / "docs" / "results"
KEPT = {
    "benchmark": ("mini.py", "ddpm,vp,ve,edm,flow,digits,0"),
    "benchmark_text": ("mini.py", "text,0"),
    "sizes": ("sizes.py", ""),
    "power": ("../power.py", "ddpm,vp,ve,edm,flow,0"),
    "sized": ("../sized.py", "ddpm,vp,ve,edm,flow,0"),
    "sweep": ("../sweep.py", "edm,0"),
    "prototypes": ("prototypes.py", ""),
    "cifar10": ("cifar10.py", ""),
}
"""Folder -> the config that was run, and its argument."""
TARGETS = ("ddpm,vp,ve,edm,flow,text,0", "ddpm,1")
BOARDS = [
    *(("benchmark", name) for name in ("leaderboard", "digits", "ve")),
    *(("benchmark_text", "text"), ("sizes", "size")),
    *(("power", "power_half"), ("sweep", "sweep_half"), ("cifar10", "leaderboard")),
    *(("sized", f"sized_{level}") for level in ("barely", "half", "memorised")),
    *(slow("power", f"power_{level}") for level in ("barely", "memorised")),
]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The studies, planned where targets of their kind are."""
    runs = tmp_path_factory.mktemp("benchmark") / "runs"
    runs.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(runs.parent)
        kept(runs / "text" / "base", get_config("../text/pretrain.py"))
        colour = get_config("cifar10_target.py")
        kept(runs / "cifar10" / "target", colour, (32, 32, 3))
        for some in TARGETS:
            for name, config in get_config("targets.py", some).audits.items():
                kept(runs / "benchmark" / "targets" / name, config)
        yield {name: study.plan(get_config(*how)) for name, how in KEPT.items()}


@pytest.mark.parametrize("name", KEPT)
def test_it_was_made_by_its_config(name, planned):
    check_made_by(planned[name], RESULTS / name)
    found = {p.stem for p in (RESULTS / name / "exhibits").glob("*.csv")}
    assert found == {*planned[name].exhibits}


@pytest.mark.many
@pytest.mark.parametrize(("name", "board"), BOARDS)
def test_every_cell_follows_from_the_scores(name, board, planned):
    one, folder = planned[name], RESULTS / name
    exhibit = one.exhibits[board]
    audits = [
        Audit(each, one.labels.get(each, each), study.planned(plan), folder / each)
        for each, plan in one.audits.items()
        if each in exhibit.among(one.audits)
    ]
    again = csv.DictReader(io.StringIO(exhibit.build(audits).csv))
    with (folder / "exhibits" / f"{board}.csv").open(newline="") as file:
        for now, before in zip(again, csv.DictReader(file), strict=True):
            assert now == before
