"""An attack that failed took the whole report with it, or would have had numbers.

It is shown as failed, with its reason and without a number, beside those that worked.
"""

from __future__ import annotations

import csv
import re

import pytest

from score_mia.report import table_text, write
from tests.report.example import CONTROLS, FAILURE, attack, bare, controls, failed
from tests.report.test_page import Page


@pytest.fixture(scope="module")
def content():
    both = attack("good", n=(20, 60)), failed()
    return bare(*both, controls=controls(**CONTROLS))


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory):
    return write(tmp_path_factory.mktemp("report"), content).parent


def test_the_page_has_its_row_and_reason(folder):
    page = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert f"Failed, no numbers {FAILURE}" in page.text
    assert "Loss at one step (broken)" in page.words
    assert "Loss at one step (good)" in page.words
    for label in page.values("aria-label"):
        assert "broken" not in label  # no curve, and no number, of it


def test_the_terminal_table_tells_it(content):
    text = " ".join(table_text(content.result).split())
    assert f"broken: failed ({FAILURE})" in text
    assert text.count("AUC 0") + text.count("AUC 1") == 2  # of the good one, and blind


def test_the_csv_and_latex_tell_it_without_a_number(folder):
    with (folder / "attacks.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["attack"] == "broken"]
    assert [(r["measure"], r["value"], r["remark"]) for r in rows] == [
        ("failed", "", FAILURE)
    ]
    tex = (folder / "attacks.tex").read_text(encoding="utf-8")
    line = next(x for x in tex.splitlines() if "(broken)" in x)
    assert "failed: attack" in line
    assert not re.search(r"\d\.\d", line.replace("0.8in", "").split("failed")[1])


def test_a_report_of_failures_only(tmp_path):
    content = bare(failed("a"), failed("b"))
    page = Page(write(tmp_path, content).read_text(encoding="utf-8"))
    assert page.text.count("Failed, no numbers") == 2
    assert "How well members stand out" not in page.text
    text = " ".join(table_text(content.result).split())
    assert "a: failed" in text
    assert "b: failed" in text
