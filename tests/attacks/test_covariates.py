from __future__ import annotations

import zlib

import numpy as np
import pytest

from score_mia.attacks import SIGNALS, HostQuery, HostSignal
from score_mia.attacks.covariates import Covariates


def facts(image):
    images = np.asarray(image, np.float32)[None]
    query = HostQuery(images, None, np.arange(1), np.arange(1))
    signal = Covariates()
    row = signal.batch(None, query).values[0]
    return dict(zip(signal.columns(None).names, row, strict=True))


def test_is_a_host_signal_of_no_model():
    assert SIGNALS["covariates"] is Covariates
    assert isinstance(Covariates(), HostSignal)
    assert Covariates().columns(None).evaluations == 0


def test_an_even_image_is_nothing_but_bright():
    found = facts(np.full((8, 8, 3), 0.2))
    for name in ("brightness", "first", "last"):
        assert found[name] == pytest.approx(0.2)
    for name in ("colour", "contrast", "detail", "edges", "entropy", "saturated"):
        assert found[name] == pytest.approx(0, abs=1e-7)
    rows = np.full((8, 8, 3), 0, np.uint8)
    rows[:, 0] = 51
    assert found["bytes"] == len(zlib.compress(rows.tobytes(), 9))


def test_known_numbers():
    """A chequerboard of black and white, whose facts can be counted."""
    board = np.indices((8, 8)).sum(0) % 2
    found = facts(board[..., None])
    assert found["brightness"] == 0.5
    assert found["contrast"] == 0.5
    assert found["edges"] == 2.0  # along either axis every difference is 1
    assert found["entropy"] == 1.0
    assert found["saturated"] == 1.0
    # Of nine pixels five are like the middle one, but at the border.
    assert found["detail"] == pytest.approx((4 / 9) ** 2, rel=0.3)
    red = np.zeros((8, 8, 3))
    red[..., 0] = 1
    found = facts(red)
    assert (found["first"], found["last"]) == (1.0, 0.0)
    assert found["colour"] == pytest.approx(np.sqrt(2) / 3)


def test_noise_is_larger_compressed_than_a_ramp():
    noise = np.random.default_rng(0).random((16, 16, 1))
    ramp = np.tile(np.linspace(0, 1, 16)[None, :, None], (16, 1, 1))
    for name in ("bytes", "detail", "edges", "entropy"):
        assert facts(noise)[name] > facts(ramp)[name]
