"""The likelihood's measured error was told in a remark and never warned of.

A reader took log-likelihoods that were wrong by whole bits per dimension for right.
"""

from __future__ import annotations

import csv
import dataclasses
import re

import pytest

from score_mia.report import table_text, write
from score_mia.results import GridError
from tests.report.example import attack, bare, entry
from tests.report.test_page import Page

GOOD = {"mean": 0.0041, "max": 0.012, "images": 16}
BAD = {"mean": 0.0307, "max": 0.165, "images": 16}
DAGGER, DOUBLE = "\N{DAGGER}", "\N{DOUBLE DAGGER}"


def report(accuracy, turned=False):
    one = attack(n=(20, 60), shift=3.0)
    scores = -one.scores if turned else one.scores
    error = None if accuracy is None else GridError(**accuracy)
    result = dataclasses.replace(entry(scores, one.member), accuracy=error)
    return bare(dataclasses.replace(one, result=result, scores=scores, stepped=None))


def texts(folder, content):
    page = Page(write(folder, content).read_text(encoding="utf-8")).text
    tex = (folder / "attacks.tex").read_text(encoding="utf-8")
    with (folder / "attacks.csv").open(encoding="utf-8") as file:
        rows = [*csv.DictReader(file)]
    return page, table_text(content.result), tex, rows


@pytest.mark.parametrize("accuracy", [GOOD, BAD])
def test_the_error_is_printed_with_its_unit(tmp_path, accuracy):
    page, terminal, tex, rows = texts(tmp_path, report(accuracy))
    mean, most = f"{accuracy['mean']:.2g}", f"{accuracy['max']:.2g}"
    said = f"{mean} bits/dim on average, {most} at most (16 images)"
    assert said in page
    assert said in tex.replace("~", " ")
    line = next(
        x for x in terminal.splitlines() if x.startswith("grid error, bits/dim")
    )
    assert f"{mean} (at most {most})" in line
    numbers = {r["measure"]: r["value"] for r in rows}
    assert float(numbers["grid_error_mean_bits_per_dim"]) == accuracy["mean"]
    assert float(numbers["grid_error_max_bits_per_dim"]) == accuracy["max"]


def test_only_an_error_above_the_bound_marks_the_number(tmp_path):
    for accuracy in (None, GOOD, {**BAD, "mean": 0.02}):
        page, terminal, tex, rows = texts(tmp_path / "good", report(accuracy))
        assert not [t for t in (page, terminal, tex) if DAGGER in t or "dagger" in t]
        assert {r["remark"] for r in rows} == {""}
    for mean in (0.0307, 0.0201):
        page, terminal, tex, rows = texts(
            tmp_path / "bad", report({**BAD, "mean": mean})
        )
        number = rf"(\d\.\d{{3}}|>0\.999){DAGGER} \["
        assert re.search(number, page)
        assert re.search(number, terminal)
        assert "above 0.02 bits/dim" in " ".join(terminal.split())
        assert "above 0.02 bits/dim" in page
        assert r"$^\dagger$" in tex
        marked = [r["measure"] for r in rows if "bits/dim" in r["remark"]]
        assert marked == ["auc"]
        auc = next(r for r in rows if r["measure"] == "auc")
        assert 0 <= float(auc["value"]) <= 1  # a number stays a number


def test_an_interval_wholly_below_chance_is_marked_in_words(tmp_path):
    page, terminal, tex, rows = texts(tmp_path, report(None, turned=True))
    for text in (page, " ".join(terminal.split()), tex):
        assert "whole interval lies below 0.5" in text
        assert DOUBLE in text or r"$^\ddagger$" in text
    assert (
        "no sign of safety" in next(r for r in rows if r["measure"] == "auc")["remark"]
    )
