"""EDM's default times were even in sigma, 2 of 50 below 1, where networks memorise.

A model that had memorised all its members was told harmless (AUC .53); samplers drew
the wrong shares, and 1 % of training steps saw less noise than sigma 1. The law for
every process is in tests/laws/test_clock_laws.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.sde import EDM, SDES
from score_mia.train.config import TrainConfig
from score_mia.train.loop import run_identity
from tests.laws.test_clock_laws import DIGITS, N, measured


def test_a_model_that_memorised_is_found_on_edm():
    (auc,) = measured(EDM(), [DIGITS[:N]])
    assert auc[50] >= 0.95


@pytest.mark.parametrize("count", [10, 50, 1000])
def test_times_and_grids_stand_where_networks_memorise(count):
    """sigma from 0.02 to 1: 1.2 % of the axis, 29 % of Karras et al.'s grid."""
    times = EDM().times(count)
    assert np.mean((times > 0.02) & (times < 1)) > 0.25


# What the four attacked processes' runs were known by before there were clocks.
KNOWN = {
    "vp": "d66074b385730df1",
    "sub_vp": "4a7b9908a8806b5c",
    "ve": "b31d0ac5b34cdc8c",
    "ddpm": "09c7a7828c976f87",
    "smld": "643ac3994c4272c3",
    "edm": "9e78e8afc0efa146",
}
assert KNOWN.keys() <= SDES.keys()


@pytest.mark.parametrize("name", KNOWN)
def test_finished_trainings_are_known_again_unless_their_law_changed(name):
    def identity(time_law):
        config = TrainConfig(steps=3, time_law=time_law)
        images = np.zeros((2, 2, 2, 1), np.float32)
        sde = SDES[name]()
        return run_identity({"sde": {"name": name}}, config, sde, images, None)[:16]

    assert identity("uniform") == KNOWN[name]
    assert (identity(None) == KNOWN[name]) == (name != "edm")
