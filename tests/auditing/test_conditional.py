"""A target that is told each image's class is trained, sampled and attacked with it."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.conditions import OWN
from score_mia.engine import collect
from score_mia.tiles import row_key
from tests.auditing.tiny import get_config
from tests.helpers import ask


def config(**network):
    made = get_config()
    made.train.steps = 20
    made.network.classes = 10
    made.network.update(network)
    made.report.grid_check = 2
    made.quality = dict(encoder="pixels", samples=8)
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional")
    plan = build.plan(config())
    auditing.run(plan, folder)
    return open_work(plan, folder)


def test_every_image_is_measured_with_its_own_class(done):
    reader = done.reader("loss")
    kept = collect(reader, done.needed(reader), done.signal_folder(reader))
    target, image = done.target, jnp.asarray(done.source.images(kept.ids[:1])[0])
    (label,) = done.conditions(kept.ids[:1])[OWN]
    key = row_key(jax.random.key(0), jnp.uint32(0), jnp.uint32(kept.ids[0]))
    own = np.asarray(ask(reader.signal, target, image, key, label))[:-1]
    other = np.asarray(ask(reader.signal, target, image, key, (label + 1) % 10))[:-1]
    np.testing.assert_allclose(kept.matrix()[0], own, rtol=1e-4)
    assert np.abs(kept.matrix()[0] - other).max() > 1e-3 * np.abs(own).max()


def test_the_report_and_its_checks_are_made(done):
    metrics = json.loads((done.folder / "metrics.json").read_text())
    assert set(metrics["attacks"]) == {"loss", "likelihood"}
    grid = json.loads((done.folder / "checks.json").read_text())["grid"]
    assert grid["likelihood"]["images"] == 2
    assert (done.folder / "report" / "index.html").exists()


@pytest.mark.parametrize(
    ("classes", "said"), [(5, "run from 0 to 9; set it to 10 or more"), (10, "")]
)
def test_labels_must_fit_the_classes(classes, said, tmp_path):
    if said:
        with pytest.raises(UserError, match=said):
            open_work(build.plan(config(classes=classes)), tmp_path)
        return
    work = open_work(build.plan(config(classes=classes)), tmp_path)
    assert work.conditions(work.split.ids)[OWN].max() == 9


def test_data_without_labels_is_told_before_training(tmp_path):
    pixels = tmp_path / "grey.npy"
    np.save(pixels, np.random.default_rng(0).integers(0, 255, (80, 8, 8), np.uint8))
    made = config()
    made.data = dict(name="arrays", path=str(pixels))
    with pytest.raises(UserError, match="no class labels; set it to 0"):
        auditing.run(build.plan(made), tmp_path / "work")
    assert not (tmp_path / "work" / "target").exists()
