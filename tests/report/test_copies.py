"""What a report says of copies among the samples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from score_mia.metrics.copies import Copying, neighbours, summary
from score_mia.report import copies, write

from .example import full
from .test_page import Page


def made(samples, sizes=(60, 60), setting=None):
    """What is found of images 4x4 of noise, the first of which are members."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (sum(sizes), 4, 4, 1), np.uint8)
    samples = images[samples] if isinstance(samples, list) else samples
    ids = np.split(np.arange(sum(sizes)), [sizes[0]])
    near = [neighbours(samples, i, images.__getitem__, 50) for i in ids if len(i)]
    other = near[1] if sizes[1] else None
    return summary(near[0], other, setting or Copying())


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_copies_are_told_with_their_number():
    found = made([0, 0, 1, 2])
    said = plain(copies.finding(found))
    assert said.startswith("4 of 4 samples nearly repeat a training image; 3 different")
    first, second, nearer, _ = copies.rows(found)
    assert (first.value, second.value) == ("100.0\N{NO-BREAK SPACE}%", "0.0\xa0%")
    assert plain(first.detail) == (
        "[39.8, 100.0] %, 4 of n = 4 samples, of 3 different images, among 60"
    )
    assert "closer than 0.5 times the mean distance to the 50 nearest" in first.meaning
    assert "next to 3 different images; 50.0 % expected, p = 0.1" in plain(
        nearer.detail
    )
    assert "is not shown (100.0 %, 50.0 % expected, p = 0.1" in said


def test_many_copies_are_told_with_their_chance():
    said = plain(copies.finding(made([*range(30)])))
    assert "more than the 50.0 % of a model that repeats nothing (p < 0.001)" in said


def test_none_found_says_how_many_there_may_be():
    fresh = np.random.default_rng(1).integers(0, 256, (40, 4, 4, 1), np.uint8)
    said = plain(copies.finding(made(fresh)))
    assert "None of 40 samples nearly repeats a training image; at most 8.8 %" in said
    assert "is not shown" in said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (made([0], (20, 60)), "There are 20 training images only"),
        (made([0], (60, 20)), "There are 20 non-members only"),
        (made([0], (60, 80)), "The groups differ in size (60 and 80)"),
        (made([0], (60, 0)), "no control was made"),
    ],
)
def test_what_weakens_the_numbers_is_said(found, said):
    lines = copies.notes(found)
    assert any(said in line for line in lines)
    assert "no proof" in lines[-1]


def test_whole_groups_of_one_size_need_no_note():
    assert len(copies.notes(made([0]))) == 1


def test_another_threshold_is_told():
    rows = copies.rows(made([0], setting=Copying(threshold=0.8)))
    assert "closer than 0.8 x 0.5 times" in rows[0].meaning


def test_the_section_stands_where_copies_were_looked_for(tmp_path):
    report = dataclasses.replace(full(), copies=made([0, 1]))
    page = Page(write(tmp_path, report).read_text(encoding="utf-8"))
    assert "#copies" in page.values("href")
    assert "2 of 2 samples nearly repeat a training image" in page.text
    assert "no proof that there is none" in page.text
    none = dataclasses.replace(report, copies=None)
    page = Page(write(tmp_path, none).read_text(encoding="utf-8"))
    assert "#copies" not in page.values("href")
    assert "Copies among the samples" not in page.text
