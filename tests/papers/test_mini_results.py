"""docs/results of the three later papers: what made them, and what the page says."""

from __future__ import annotations

import csv
import functools
import json
import shutil

import pytest

from score_mia.auditing import study
from score_mia.auditing.sections import resolve
from tests.papers.test_studies import ROOT, get_config, stand_in

RESULTS = ROOT / "docs" / "results"
STUDIES = {
    "cilloni": "cilloni/mini.py",
    "laion_mi": "laion_mi/mini.py",
    "pang_wang": "pang_wang/mini.py",
    "lessons": "laion_mi/lessons.py",
    "varied": "pang_wang/ablations.py",
}
"""Folder of results -> the config that made it."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Every study, planned where the targets and lists that it reads are."""
    folder = tmp_path_factory.mktemp("mini")
    for name in ("text/base", "text/tuned", "pang_wang/tuned"):
        stand_in(folder / "runs" / name)
    shutil.copytree(RESULTS / "pools", folder / "runs" / "pools")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {
            name: study.plan(get_config(config)) for name, config in STUDIES.items()
        }


@functools.cache
def auc(name):
    """(audit, attack) -> its AUC, low and high, of all exhibits of a study."""
    found = {}
    for path in sorted((RESULTS / name / "exhibits").glob("*.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                if row["measure"] in ("auc", "AUC") and row.get("source") != "theirs":
                    numbers = [float(row[k]) for k in ("value", "low", "high")]
                    found[row["audit"], row["attack"]] = numbers
    return found


@pytest.mark.parametrize("name", STUDIES)
def test_each_was_made_by_its_config(name, planned):
    audits = planned[name].audits
    kept = {p.parent.name for p in (RESULTS / name).glob("*/metrics.json")}
    assert kept == set(audits)
    for audit, plan in audits.items():
        made = json.loads((RESULTS / name / audit / "config.json").read_text())
        assert resolve(made) == resolve(plan.config), audit
    for exhibit in planned[name].exhibits:
        for suffix in ("csv", "tex"):
            assert (RESULTS / name / "exhibits" / f"{exhibit}.{suffix}").exists()
    page = (RESULTS / name / "index.html").read_text(encoding="utf-8")
    for audit in audits:
        assert f'href="{audit}/report/index.html"' in page
        assert (RESULTS / name / audit / "report" / "index.html").exists()
