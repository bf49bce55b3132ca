"""Parts from outside the package in a real audit: what is kept is what they say."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.auditing import plan as build
from score_mia.auditing.exposed import load
from score_mia.auditing.shadows import others
from score_mia.auditing.work import open_work
from score_mia.engine import collect
from score_mia.readings import Evidence
from score_mia.results import AuditResult
from score_mia.tiles import row_key
from tests.beams import audit
from tests.helpers import ask
from tests.rules.test_lira import naive

ACCESS = {
    "secmi": "scores",
    "pia": "scores",
    "both": "scores",
    "gsa": "gradients",
    "lira": "scores",
    "recon": "samples",
    "blind": "none",
}
EVALUATIONS = {"secmi": 6.0, "pia": 2.0, "both": 3.0, "gsa": 4.0, "lira": 1.0}


@pytest.fixture(scope="module")
def work(audited):
    return open_work(build.plan(audit.get_config()), audited)


@pytest.fixture(scope="module")
def results(audited):
    return AuditResult.load(audited).attacks


def kept(work, name):
    """The rows that a finished audit keeps of a signal; nothing is computed."""
    reader = work.reader(name)
    folder = work.signal_folder(reader)
    assert (folder / "manifest.json").exists()
    return collect(reader, work.needed(reader), folder)


def test_every_attack_has_its_numbers_its_access_and_its_cost(results):
    assert {name: one.access for name, one in results.items()} == ACCESS
    for name, one in results.items():
        assert one.failed is None
        assert (one.members, one.nonmembers, one.non_finite) == (20, 30, 0)
        assert one.network_evaluations_per_image == EVALUATIONS.get(name)


@pytest.mark.parametrize("name", ["secmi", "pia", "gsa"])
def test_rows_are_what_the_signal_says_of_the_image(work, name):
    rows, signal = kept(work, name), work.plan.signals[name]
    one = jax.jit(ask, static_argnums=0)
    for k in (0, len(rows) - 1):
        id_ = int(rows.ids[k])
        image = jnp.asarray(work.source.images(np.asarray([id_]))[0])
        key = row_key(jax.random.key(0), jnp.uint32(0), jnp.uint32(id_))
        expected = np.asarray(one(signal, work.target, image, key))
        np.testing.assert_allclose(
            rows.matrix()[k], expected[: len(rows.names)], rtol=2e-4
        )


def test_columns_are_named_by_the_networks_layers(work):
    named = kept(work, "gsa").names
    leaves = jax.tree.leaves(work.target.params)
    assert len(named) == len(leaves)
    assert "norm/first/kernel" in named


def test_a_rule_reads_two_signals_that_are_kept_apart(work, results):
    assert results["both"].chosen.startswith("2 columns, weighed on ")
    folders = {p.name.rsplit("-", 1)[0] for p in (work.folder / "signals").iterdir()}
    assert folders == {*(ACCESS.keys() - {"both", "lira"}), "loss"}


def test_images_are_drawn_by_the_target_for_who_sees_nothing_else(work):
    rows = kept(work, "recon")
    assert set(rows.column("drawn")) == {2.0}
    assert (rows.column("nearest") >= rows.column("mean")).all()
    assert rows.column("mean").max() < 0


def test_blind_finds_nothing_where_members_are_drawn_at_random(work, results):
    auc = results["blind"].auc
    assert auc.low < 0.5 < auc.high
    rows, images = kept(work, "blind"), work.source.images(work.split.ids)
    means = images.astype(np.float64).mean(axis=(1, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(rows.column("mean_image"), means)


def test_an_attack_on_shadow_models_is_what_their_readings_say(work):
    """Four were trained, each on half of the images: an image is in two of them."""
    lira = next(one for one in work.plan.attacks if one.name == "lira")

    def never(work):
        raise AssertionError("a finished shadow is trained again")

    shadows = others(work, lira, never)
    assert (np.sum([shadow.member for shadow in shadows], axis=0) == 2).all()
    ids, _, scores = load(work.folder, "lira")
    expected = naive(Evidence(kept(work, "loss"), shadows))
    judged = np.isin(work.split.ids, ids)
    np.testing.assert_allclose(scores, expected[judged], rtol=1e-6, atol=1e-9)
