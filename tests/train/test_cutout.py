"""Cutout against its law: which pixels a square around a uniform pixel covers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.clock import UniformClock
from score_mia.parameterisation import Noise
from score_mia.sde import VE
from score_mia.target import Target
from score_mia.train.config import TrainConfig
from score_mia.train.loss import Objective, cut_out

SHAPE = (5, 8, 2)
IMAGE = np.random.default_rng(0).uniform(0.6, 1.0, SHAPE).astype(np.float32)


def holes(side, n=4000):
    keys = jax.random.split(jax.random.key(side), n)
    cut = jax.jit(jax.vmap(lambda k: cut_out(jnp.asarray(IMAGE), side, k)))(keys)
    cut = np.asarray(cut)
    hole = np.all(cut == 0.5, axis=-1)
    kept = np.where(hole[..., None], IMAGE, cut)
    assert np.array_equal(kept, np.broadcast_to(IMAGE, kept.shape))
    return hole


@pytest.mark.parametrize("side", [1, 2, 3, 4, 20])
def test_each_pixel_is_covered_as_often_as_centres_reach_it(side):
    hole = holes(side)
    # A centre c covers the pixels from c - side // 2 on, `side` of them.
    reach = [
        [sum(c - side // 2 <= p < c - side // 2 + side for c in range(size)) / size
         for p in range(size)]
        for size in SHAPE[:2]
    ]  # fmt: skip
    want = np.outer(*reach)
    error = np.sqrt(want * (1 - want) / len(hole))
    assert np.all(np.abs(hole.mean(axis=0) - want) <= 4.5 * error + 1e-12)


def test_a_hole_is_one_square_cut_off_at_the_border():
    for hole in holes(3, 200):
        rows, columns = (np.flatnonzero(hole.any(axis=a)) for a in (1, 0))
        assert np.array_equal(hole, np.outer(hole.any(axis=1), hole.any(axis=0)))
        for places, size in ((rows, 5), (columns, 8)):
            assert np.all(np.diff(places) == 1)
            whole = len(places) == 3
            cut = len(places) == 2 and (places[0] == 0 or places[-1] == size - 1)
            assert whole or cut


def seen(objective, seed):
    """The image in [-1, 1] that the network was shown, next to no noise on it."""
    shown = []

    def network(params, x, *_, **__):
        shown.append(np.asarray(x[0]))
        return x

    target = Target(None, VE(sigma_min=1e-6, sigma_max=2e-6), Noise(), network)
    objective(target, jnp.asarray(IMAGE), jax.random.key(seed))
    return shown[0]


def test_the_objective_cuts_anew_in_each_draw_and_leaves_the_rest_as_it_was():
    plain = [seen(Objective(flip=True), s) for s in range(8)]
    cut = [seen(Objective(flip=True, cutout=3), s) for s in range(8)]
    places = set()
    for a, b in zip(plain, cut, strict=True):
        hole = np.all(np.abs(b) < 1e-4, axis=-1)  # grey is 0 in the target's space
        assert 4 <= hole.sum() <= 9
        np.testing.assert_array_equal(a[~hole], b[~hole])
        places.add(hole.tobytes())
    assert len(places) > 4


def test_cutout_is_a_field_of_the_config():
    config = TrainConfig(steps=1, cutout=4)
    assert config.objective.cutout == 4
    assert config.science(UniformClock())["cutout"] == 4
    assert "cutout" not in TrainConfig(steps=1).science(UniformClock())
    with pytest.raises(UserError, match="cutout=-1: is below 0"):
        TrainConfig(steps=1, cutout=-1)
