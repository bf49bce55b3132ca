"""Figures and pictures: what is drawn is what was measured."""

from __future__ import annotations

import base64
import dataclasses
import io

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.report import draw, picture, style
from score_mia.report.curves import finite_roc, roc_grid

from .example import attack


@pytest.fixture(scope="module")
def loss():
    return attack()


@pytest.fixture(scope="module")
def curves(loss):
    return {"loss": finite_roc(loss.scores, loss.member)}


def line(axes, label):
    return next(x for x in axes.lines if x.get_label() == label)


def test_roc_ends_at_the_resolution(curves):
    axes = draw.roc(curves).axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "log"
    x, y = line(axes, "loss").get_data()
    assert x[0] == 1 / 150
    assert axes.get_xlim()[0] < 1 / 150
    assert np.array_equal(y, curves["loss"].tpr)
    chance = line(axes, "chance").get_data()
    assert np.array_equal(*chance)
    shade = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert shade.x1 == pytest.approx(1 / 150)
    assert "below resolution (n = 150)" in [t.get_text() for t in axes.texts]


def test_roc_grid_is_resolvable_and_bounded():
    for n in (1, 2, 150, 25_000):
        counts = roc_grid(n) * n
        assert np.allclose(counts, np.round(counts))
        assert (counts[0], counts[-1]) == (1, n)
        assert len(counts) <= 120


@pytest.mark.parametrize("axis", ["time", "log_snr"])
def test_by_step_marks_the_chosen_step_and_noise_grows_to_the_right(loss, axis):
    above, below = draw.by_step(loss.stepped, axis).axes
    x = getattr(loss.stepped, axis)
    for axes in (above, below):
        marks = [m for m in axes.lines if m.get_color() == style.PAPER["orange"]]
        assert [m.get_xdata()[0] for m in marks] == [x[2]]
    left, right = below.get_xlim()
    assert (left < right) == (axis == "time")
    labels = {t.get_text().replace("\xa0", " ") for t in below.get_legend().get_texts()}
    assert labels == {"at 10 % FPR", "at 1 % FPR"}
    drawn_x, drawn_y = line(above, "AUC").get_data()
    expected = dict(zip(x, loss.stepped.curves.auc[0], strict=True))
    assert dict(zip(drawn_x, drawn_y, strict=True)) == expected


def test_by_step_without_a_chosen_step_marks_none(loss):
    steps = dataclasses.replace(loss.stepped, chosen=None)
    above, _ = draw.by_step(steps, "time").axes
    assert style.PAPER["orange"] not in [x.get_color() for x in above.lines]
    assert above.get_title(loc="right") == ""


def test_histogram_counts_every_image(loss):
    scores = loss.scores.copy()
    scores[0], scores[-1] = 1e6, -1e6  # far outside: counted at the ends
    far = dataclasses.replace(loss, scores=scores)
    axes = draw.histogram({"loss": far}).axes[0]
    filled = [p for p in axes.patches if p.get_fill()]
    assert [p.get_data().values.sum() for p in filled] == pytest.approx([1, 1])


def test_training_skips_what_is_not_a_loss():
    records = [
        {"step": 2, "loss": 0.5},
        {"step": 1, "loss": 1.0},
        {"step": 3, "loss": float("nan")},
        {"step": 4},
    ]
    axes = draw.training(records).axes[0]
    x, y = line(axes, "loss").get_data()
    assert (list(x), list(y)) == ([1, 2], [1.0, 0.5])
    assert draw.training([{"step": 1}]) is None
    assert draw.training([]) is None


def test_style_leaves_no_trace():
    import matplotlib

    before = dict(matplotlib.rcParams)
    style.png(draw.training([{"step": 1, "loss": 1.0}]))
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("channels", [1, 3])
def test_small_pictures_survive_to_the_bit(channels):
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (1, 8, 8, channels), np.uint8)
    uri = picture.data_uri(picture.unit_pictures(pixels)[0])
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(back.reshape(8, 8, channels), pixels[0])


def test_large_pictures_are_reduced():
    from PIL import Image

    noise = np.random.default_rng(0).random((256, 128, 3)).astype(np.float32)
    kind, data = picture.data_uri(noise).split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (64, 128)


def test_pictures_of_other_shapes_are_refused():
    with pytest.raises(UserError, match=r"n, h, w, c"):
        picture.unit_pictures(np.zeros((1, 4, 4, 2)))


def test_nan_and_range_of_pictures():
    wild = np.array([np.nan, -1.0, 0.25, 7.0]).reshape(1, 2, 2, 1)
    assert picture.unit_pictures(wild).ravel().tolist() == [0, 0, 0.25, 1]
