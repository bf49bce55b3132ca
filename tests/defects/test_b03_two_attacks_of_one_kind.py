"""Of two attacks of one kind, one ROC vanished and both rows had one name.

Figures were keyed by the attack's title: the second curve replaced the first, and a
reader could not tell which row was which.
"""

from __future__ import annotations

import csv
import dataclasses
import io

import numpy as np
import pytest

from score_mia.auditing import study
from score_mia.report import draw, plates, write
from score_mia.report.curves import finite_roc
from score_mia.report.exhibits.figures import step_labels
from score_mia.report.text import distinct
from tests.report.example import attack, bare
from tests.report.test_page import Page
from tests.study.tiny_study import get_config

TITLE = "Loss at one time"
NAMES = ("loss", "loss-b", "a.b", "a-b")
SHOWN = [f"{TITLE} ({name})" for name in NAMES]


def curves_of(content):
    return {a.name: finite_roc(a.scores, a.member) for a in content.attacks}


@pytest.fixture(scope="module")
def content():
    return bare(*(attack(n, TITLE, seed=i) for i, n in enumerate(NAMES)))


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    return write(tmp_path_factory.mktemp("report"), content).parent


def test_every_attack_has_its_own_row_curve_and_files(content, folder):
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    legend = draw.roc(curves_of(content), None, content.titles)
    labels = [x.get_label() for x in legend.axes[0].lines]
    for name, shown in zip(NAMES, SHOWN, strict=True):
        assert page.words.count(shown) >= 3  # its row, its remarks, its plot
        assert shown in labels
        assert shown.replace("_", r"\_") in (folder / "attacks.tex").read_text()
        with (folder / "roc.csv").open() as file:
            assert {r["attack"] for r in csv.DictReader(file)} == set(NAMES)
        assert shown in " ".join(page.values("aria-label")), name
    assert len(list(folder.glob("tpr_by_step*.png"))) == len(NAMES)


def test_drawn_curves_are_those_of_their_names(content):
    curves = curves_of(content)
    drawn = plates.plates(content, curves)["roc.png"].figure.axes[0]
    for name, shown in zip(NAMES, SHOWN, strict=True):
        line = next(x for x in drawn.lines if x.get_label() == shown)
        assert np.array_equal(line.get_ydata(), curves[name].tpr)


def test_titles_that_differ_stay_as_they_are():
    assert distinct({"a": "One", "b": "Two"}) == {"a": "One", "b": "Two"}
    same = distinct({"a": "One", "b": "One", "c": "Two"})
    assert same == {"a": "One (a)", "b": "One (b)", "c": "Two"}


def test_audits_of_one_label_are_told_apart_in_a_study():
    config = get_config()
    config.labels = dict(ddpm="Same", smld="Same")
    assert study.plan(config).labels == {"ddpm": "Same (ddpm)", "smld": "Same (smld)"}


def test_two_steps_that_round_to_one_label_are_two_curves():
    steps = dataclasses.replace(
        attack().stepped,
        names=("a", "b", "c", "d", "e"),
        time=np.array([0.2101, 0.2102, 0.5, 0.6, 0.7]),
        time_label="time t",
    )
    assert step_labels(steps, [0, 1, 2], False) == [
        *("t = 0.21 (a)", "t = 0.21 (b)", "t = 0.5")
    ]


def test_the_csv_is_keyed_by_name(folder):
    rows = csv.DictReader(io.StringIO((folder / "attacks.csv").read_text()))
    assert [*dict.fromkeys(r["attack"] for r in rows)] == [*NAMES]
