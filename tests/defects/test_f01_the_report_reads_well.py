"""First readers stumbled: labels ran into each other, curves lay on the frame.

Ticks under histograms of small values overlapped, the ROC of a strong attack was a line
at the top of its plot, one card of a pair was half empty, and a chosen step was called
"loss@143".
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from score_mia.report import draw, plates, style, write
from score_mia.report.curves import finite_roc
from tests.report.example import attack, bare, changed
from tests.report.test_page import Page


@pytest.mark.parametrize("offset", [0.0, 1800.0])
@pytest.mark.parametrize("scale", [3e-9, 1e-4, 2.5e-3, 0.7, 41.0, 3e4, 1e8])
def test_tick_labels_under_a_histogram_stand_apart(scale, offset):
    one = attack()
    scores = one.scores.astype(np.float64) * scale + offset * scale
    one = dataclasses.replace(one, scores=scores)
    drawn = draw.histogram({"loss": one}, wide=4.0)
    with style.styled():
        drawn.draw_without_rendering()
    axes = drawn.axes[0]
    labels = [x for x in axes.get_xticklabels() if x.get_text()]
    assert 2 <= len(labels) <= 7
    assert len({x.get_text() for x in labels}) == len(labels)
    boxes = [x.get_window_extent() for x in labels]
    for left, right in itertools.pairwise(boxes):
        assert left.x1 + 2 < right.x0
    # What is printed is the tick, in the power of ten named beside the axis.
    powers = [t.get_text() for t in axes.texts if "units of 10" in t.get_text()]
    back = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    power = int(powers[0].rpartition("units of 10")[2].translate(back)) if powers else 0
    for label, tick in zip(labels, axes.get_xticks(), strict=True):
        said = float(label.get_text().replace("\N{MINUS SIGN}", "-")) * 10.0**power
        assert said == pytest.approx(tick, rel=1e-6, abs=1e-6 * scale)


def roc_of(attacks):
    return {a.name: finite_roc(a.scores, a.member) for a in attacks}


def test_a_strong_attack_shows_what_it_misses():
    strong, weak = attack("strong", shift=6.0), attack("weak", shift=0.5, seed=2)
    curves = roc_of([strong, weak])
    upper, lower = draw.roc(curves).axes
    assert lower.get_yscale() == "log"
    assert lower.get_ylim()[0] > lower.get_ylim()[1]  # fewer missed is further up
    for line, curve in zip(lower.lines, curves.values(), strict=True):
        x, y = line.get_data()
        assert np.array_equal(x, curve.fpr)
        seen = y > 0.5 / curve.members
        assert np.allclose(y[seen], 1 - curve.tpr[seen])
        assert np.all(curve.tpr[~seen] == 1)
    assert upper.get_xlim() == lower.get_xlim()
    assert len(draw.roc({"weak": curves["weak"]}).axes) == 1


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_no_card_beside_the_roc_is_half_empty(count):
    attacks = [attack(f"a{i}", shift=1.0 + i, seed=i) for i in range(count)]
    content = bare(*attacks)
    drawn = plates.plates(content, roc_of(attacks))
    first, scores = drawn["roc.png"], drawn["scores.png"]
    if count <= draw.MANY:
        assert scores.parts == ()
        heights = first.figure.get_figheight(), scores.figure.get_figheight()
        assert max(heights) / min(heights) < 1.5
    else:
        assert len(scores.parts) == count


def test_many_attacks_are_a_page_with_every_legend_entry(tmp_path):
    content = bare(*(attack(f"a{i}", f"Attack {i}", seed=i) for i in range(5)))
    page = Page(write(tmp_path, content).read_text(encoding="utf-8"))
    for i in range(5):
        assert f"Attack {i}, by diffusion step" in page.words
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_a_chosen_column_is_told_in_words(tmp_path):
    one = attack()
    chosen = "loss@200 (AUC 0.98 on 60 reference images)"
    content = bare(changed(one, chosen=chosen))
    page = Page(write(tmp_path, content).read_text(encoding="utf-8"))
    assert "Chosen: loss at diffusion step 200 (AUC 0.98 on 60" in page.text
    assert "chosen on reference data: loss at diffusion step 200" in page.text
    assert "loss@" not in page.text + " ".join(page.values("aria-label"))


def test_words_of_columns():
    columns = attack().stepped
    assert columns.words(1) == "loss at diffusion step 100"
    slow = dataclasses.replace(columns, time_label="time t")
    said = slow.in_words("mean of loss@0.21 and loss@1e-05; mail a@b")
    assert said == "mean of loss at time 0.21 and loss at time 1e-05; mail a@b"
