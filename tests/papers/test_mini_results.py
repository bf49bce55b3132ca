"""docs/results of the three later papers: what made them, and what the page says."""

from __future__ import annotations

import csv
import functools
import json
import shutil

import pytest

from score_mia.auditing import study
from score_mia.auditing.sections import resolve
from score_mia.papers.laion_mi import SETTINGS
from tests.papers.test_studies import ROOT, get_config, stand_in

RESULTS = ROOT / "docs" / "results"
STUDIES = {
    "cilloni": "cilloni/mini.py",
    "laion_mi": "laion_mi/mini.py",
    "pang_wang": "pang_wang/mini.py",
    "lessons": "laion_mi/lessons.py",
    "varied": "pang_wang/ablations.py",
    "private": "pang_wang/private.py",
}
"""Folder of results -> the config that made it."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Every study, planned where the targets that it reads are."""
    folder = tmp_path_factory.mktemp("mini")
    for name in ("text/base", "text/tuned", "text/other", "pang_wang/tuned"):
        stand_in(folder / "runs" / name, size="")
    shutil.copytree(RESULTS / "pools", folder / "runs" / "pools")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return {
            name: study.plan(get_config(config)) for name, config in STUDIES.items()
        }


@functools.cache
def measured(name, *measures):
    """(audit, attack) -> a measure, low and high, of all exhibits of a study."""
    found = {}
    for path in sorted((RESULTS / name / "exhibits").glob("*.csv")):
        with path.open() as file:
            for row in csv.DictReader(file):
                measure = row["measure"]
                if measure == "tpr":
                    measure = f"tpr@{row['fpr']}"
                if measure in measures and row.get("source") != "theirs":
                    numbers = [float(row[k]) for k in ("value", "low", "high")]
                    found[row["audit"], row["attack"]] = numbers
    return found


def check_made_by(planned, folder):
    """The results in a folder are of this plan, and all of it is there."""
    kept = {p.parent.name for p in folder.glob("*/metrics.json")}
    assert kept == set(planned.audits)
    for audit, plan in planned.audits.items():
        made = json.loads((folder / audit / "config.json").read_text())
        assert resolve(made) == resolve(plan.config), audit
    for exhibit in planned.exhibits:
        for suffix in ("csv", "tex"):
            assert (folder / "exhibits" / f"{exhibit}.{suffix}").exists()
    page = (folder / "index.html").read_text(encoding="utf-8")
    for audit in planned.audits:
        assert f'href="{audit}/report/index.html"' in page
        assert (folder / audit / "report" / "index.html").exists()


@pytest.mark.parametrize("name", STUDIES)
def test_each_was_made_by_its_config(name, planned):
    check_made_by(planned[name], RESULTS / name)


# --- the tables of docs/reproduce.md --------------------------------------------------


def shown(study, audit, attack):
    """An AUC as the page has it."""
    found = measured(study, "auc", "AUC")[audit, attack]
    return "{:.2f} [{:.2f}, {:.2f}]".format(*found)


def cilloni_rows():
    """AUC of the logistic rule, by observer and distance, in both boxes."""
    for observer in ("one_shot", "complete", "progressive"):
        for distance in ("psnr", "dssim", "rmse", "features"):
            cells = [
                shown("cilloni", box, f"{observer}-{distance}{blur}-logistic")
                for box in ("grey", "black")
                for blur in ("", "-blur")
            ]
            yield [observer.replace("_", "-"), distance, *cells]


def laion_rows():
    """AUC of each setting by its best error and by two classifiers of all of them."""
    for row in SETTINGS:
        rules = ("", "-logistic", "-tree")
        yield [f"`{row}`", *(shown("laion_mi", "tuned", row + rule) for rule in rules)]


def pang_rows():
    """AUC of each scenario by each rule, as we count and as published."""
    rules = ("mean", "max", "gaussians", "mlp", "logistic")
    for scenario in ("I", "II", "III", "IV"):
        names = [f"{scenario}-{rule}" for rule in rules]
        yield [scenario, *(shown("pang_wang", "tuned", name) for name in names)]
    names = [f"III-other-{rule}" for rule in rules]
    cells = (shown("pang_wang", "tuned", name) for name in names)
    yield ["III, another family", *cells]
    for scenario in ("I", "II"):
        names = [f"{scenario}-{rule}-published" for rule in rules]
        cells = (shown("pang_wang", "tuned", name) for name in names)
        yield [f"{scenario}, as published", *cells]


LESSONS = {
    "shifted": "pre-trained, shifted split",
    "mended": "the same, sanitised",
    "brief": "fine-tuned for 250 steps",
    "half": "500 steps",
    "long": "1,000 steps",
}


def lesson_rows():
    """AUC of three attacks, and by what the black one exceeds a blind classifier."""
    for audit, label in LESSONS.items():
        attacks = ("loss", "baseline", "drawn")
        cells = [shown("lessons", audit, attack) for attack in attacks]
        yield [label, *cells, margin("lessons", audit, "drawn")]


VARIED = {
    "the attack of the table above, m = 1": ("variants", "m-1"),
    "m = 2": ("variants", "m-2"),
    "m = 3": ("variants", "m-3"),
    "m = 6": ("variants", "m-6"),
    "m = 3, similarity `l1`": ("variants", "l1"),
    "m = 3, similarity `l2`": ("variants", "l2"),
    "m = 3, similarity `hamming`": ("variants", "hamming"),
    "m = 3, one feature vector an image": ("variants", "pooled"),
    "m = 3, random convolutions": ("variants", "random_conv"),
    "m = 3, pixels": ("variants", "pixels"),
    "m = 1, captions of the pre-training set": ("variants", "foreign"),
    "m = 1, 3 steps": ("steps-3", "m-1"),
    "m = 1, 12 steps": ("steps-12", "m-1"),
    "m = 1, 64 members, as often each": ("few", "m-1"),
}


def rate(study, audit, attack):
    """A TPR at 10 % FPR as the page has it."""
    tpr = measured(study, "tpr@0.1")[audit, attack]
    return "{:.0f} % [{:.0f}, {:.0f}]".format(*(100 * x for x in tpr))


def margin(study, audit, attack):
    """By how much an AUC exceeds a blind classifier's, as the page has it."""
    found = measured(study, "margin")[audit, attack]
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*found)


def varied_rows():
    """AUC and TPR at 10 % FPR of one change each."""
    for title, (audit, attack) in VARIED.items():
        yield [title, shown("varied", audit, attack), rate("varied", audit, attack)]


def private_rows():
    """AUC, its margin and TPR at 10 % FPR, without and with DP-SGD."""
    for audit, label in {"plain": "fine-tuned", "dp": "DP-SGD, ε = 10"}.items():
        cells = [form("private", audit, "m-1") for form in (shown, margin, rate)]
        yield [label, *cells]


ROWS = [cilloni_rows, laion_rows, pang_rows, lesson_rows, varied_rows, private_rows]


@pytest.mark.parametrize("rows", ROWS)
def test_the_page_says_what_the_files_say(rows):
    page = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
    for row in rows():
        assert f"| {' | '.join(row)} |" in page, row
