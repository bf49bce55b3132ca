"""Filters of frequencies: waves that are kept, waves that are not, and the loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import SIGNALS
from score_mia.attacks.draws import noise_at
from score_mia.attacks.frequency import Filter
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import identity
from score_mia.check import UserError
from score_mia.registry import make
from score_mia.sde import DDPM, VP
from tests.helpers import ask
from tests.oracles import gaussian_target, random_gaussian

SIDES = (12, 16)
KEY = jax.random.key(3)


def wave(down, right):
    """A cosine of so many cycles per height and per width, [h, w, 1]."""
    y, x = np.mgrid[: SIDES[0], : SIDES[1]]
    phase = 2 * np.pi * (down * y / SIDES[0] + right * x / SIDES[1])
    return np.cos(phase + 0.3)[..., None].astype(np.float32)


@pytest.mark.parametrize(
    ("cycles", "share"),
    [
        *(((0, 0), 0.1), ((1, 1), 0.1), ((0, 5), 0.1), ((3, 3), 0.1), ((6, 8), 0.1)),
        *(((2, 0), 1.0), ((3, 2), 1.0), ((0, -4), 1.0)),
    ],
)
def test_a_wave_of_the_band_is_kept_and_every_other_weakened(cycles, share):
    band = Filter(low=2, high=4, rest=0.1)
    np.testing.assert_allclose(band(wave(*cycles)), share * wave(*cycles), atol=1e-5)


def test_is_linear_and_takes_any_number_of_images_and_channels():
    band, noise = (
        Filter(1, 3, 0.5),
        np.random.default_rng(0).normal(size=(2, 3, 9, 8, 2)),
    )
    noise = noise.astype(np.float32)
    whole = np.asarray(band(noise))
    one = np.asarray(band(noise[1, 2, ..., :1]))
    np.testing.assert_allclose(whole[1, 2, ..., :1], one, atol=1e-5)
    apart = band(noise[0]) - band(noise[1])
    np.testing.assert_allclose(band(noise[0] - noise[1]), apart, atol=1e-5)
    np.testing.assert_allclose(Filter(0, 99)(noise), noise, atol=1e-5)


def test_the_loss_is_that_of_the_filtered_error():
    """By Parseval: the mean square of an error is that of its frequencies."""
    shape, sde = (6, 4, 2), VP()
    target = gaussian_target(sde, *random_gaussian(shape, seed=4))
    image = jnp.asarray(np.random.default_rng(5).random(shape, np.float32))
    low = Filter(high=1.5, rest=0.25)
    found = ask(Loss((0.3,), filter=low), target, image, KEY)
    noise, t = noise_at(KEY, 0, 0.3, shape), 0.3
    noisy = sde.perturb(target.codec.encode(image), t, noise)
    wrong = np.asarray(noise - target.denoiser.eps(noisy, t), np.float64)
    power = np.abs(np.fft.fft2(wrong, axes=(0, 1))) ** 2 / (6 * 4)
    exact = np.mean(power * low.mask(6, 4)[..., None] ** 2)
    np.testing.assert_allclose(found, [-exact, 1.0], rtol=1e-4)
    everything = ask(Loss((0.3,), filter=Filter(0, 9)), target, image, KEY)
    np.testing.assert_allclose(everything, ask(Loss((0.3,)), target, image, KEY), 1e-5)


def test_a_loss_without_a_filter_is_the_one_that_earlier_audits_kept():
    """Its digest names its numbers' folder; a field that came later is silent."""
    old = 'score_mia.attacks.loss.Loss{"chunk": 10, "draws": 1, "times": 50}'
    assert identity(Loss(50)) == old
    filtered = [identity(Loss(50, filter=Filter(rest=r))) for r in (0.1, 0.2)]
    assert len({old, *filtered}) == 3


def test_a_config_names_it():
    spec = {"name": "loss", "times": 3, "filter": {"low": 2, "high": 8, "rest": 0}}
    signal = make("signal", SIGNALS, spec)
    assert signal == Loss(3, filter=Filter(2, 8, 0))
    target = gaussian_target(DDPM(), *random_gaussian((2, 2, 1)))
    assert (
        signal.columns(target.denoiser).title == "Loss at one time, frequencies 2 to 8"
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"low": 6}, "is no band"),
        ({"low": -1}, "filter.low=-1"),
        ({"rest": -0.5}, "filter.rest"),
    ],
)
def test_wrong_bands_are_refused_when_made(fields, said):
    with pytest.raises(UserError, match=said):
        Filter(**fields)
