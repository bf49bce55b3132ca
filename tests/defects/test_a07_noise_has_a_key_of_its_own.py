"""The key of private training's noise was the key of step 217's batch."""

from __future__ import annotations

import jax
import numpy as np
import pytest

pytest.importorskip("jax_privacy")

from score_mia.train import dp
from score_mia.train.accounting import Mechanism
from score_mia.train.config import Privacy, TrainConfig


def test_no_step_and_no_image_of_a_step_shares_the_noises_key():
    config = TrainConfig(steps=9, seed=3, dp=Privacy(delta=1e-3, noise_multiplier=1.0))
    privatiser = dp.make_privatiser(config, Mechanism(8, 0.5, 8, 1.0, 9))
    (noise,) = (
        np.asarray(leaf)
        for leaf in jax.tree.leaves(privatiser.init(np.zeros(2, np.float32)))
        if np.asarray(leaf).dtype == np.uint32
    )
    key = jax.random.key(3)
    steps = jax.vmap(lambda i: jax.random.fold_in(key, i))(np.arange(20_000))
    images = jax.vmap(lambda k: jax.random.split(k, 8))(steps[:1000])
    for others in (steps, images, key):
        data = np.asarray(jax.random.key_data(others)).reshape(-1, 2)
        assert not (data == noise).all(1).any()
