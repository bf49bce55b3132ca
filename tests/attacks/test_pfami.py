"""PFAMI's relative change of the loss against its closed form."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Pfami
from score_mia.attacks.draws import noise_at
from score_mia.attacks.pfami import cropped
from score_mia.check import UserError
from score_mia.sde import DDPM, VE
from tests.helpers import ask
from tests.oracles import scales, seen, standard_target

IMAGE = jnp.asarray(np.random.default_rng(2).random((4, 6, 1), np.float32))
KEY = jax.random.key(3)


def by_hand(image, side):
    """The middle of an image, by one-dimensional interpolation along each axis."""
    for axis in (0, 1):
        n = image.shape[axis]
        places = n / 2 + side * (np.arange(n) + 0.5 - n / 2) - 0.5
        along = np.moveaxis(image, axis, 0).reshape(n, -1).T
        drawn = np.stack([np.interp(places, np.arange(n), row) for row in along], 1)
        shape = np.moveaxis(image, axis, 0).shape
        image = np.moveaxis(drawn.reshape(shape), 0, axis)
    return image


@pytest.mark.parametrize("side", [0.5, 0.83])
def test_a_crop_is_the_middle_at_the_old_size(side):
    found = cropped(IMAGE, jnp.float32(side))
    np.testing.assert_allclose(found, by_hand(np.asarray(IMAGE), side), atol=1e-6)


def test_of_a_standard_normal():
    """L = mean (z - c (alpha x + std z))^2, the same z for the image and its crops."""
    sde, times = VE(sigma_max=5.0), (0.3, 0.6)
    signal = Pfami(times=times, neighbours=2, draws=2)
    target, _ = standard_target(sde, IMAGE)
    views = [np.asarray(IMAGE), *(by_hand(np.asarray(IMAGE), s) for s in signal.sides)]
    encoded = [2 * view.astype(np.float64) - 1 for view in views]
    exact = []
    for t in times:
        (alpha, std), c = scales(sde, t), seen(sde, t)
        z = [noise_at(KEY, r, jnp.float32(t), IMAGE.shape) for r in range(2)]
        losses = [
            np.mean([(e - c * (alpha * x + std * e)) ** 2 for e in np.asarray(z)])
            for x in encoded
        ]
        exact.append(np.mean(losses[1:]) / losses[0] - 1)
    found = np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, KEY))
    np.testing.assert_allclose(found[:2], exact, rtol=1e-3)
    assert found[2] == 2 * 2 * 3


def test_the_papers_setting():
    target, _ = standard_target(DDPM(), IMAGE)
    columns = Pfami().columns(target.denoiser)
    assert columns.names[1:3] == ("pfami@50", "pfami@100")
    assert columns.evaluations == 110


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"largest": 1.0}, "no sides of crops"),
        ({"smallest": 0.96}, "no sides of crops"),
        ({"neighbours": 0}, "below 1"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Pfami(**fields)
