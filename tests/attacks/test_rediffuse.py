"""ReDiffuse: the mean of an image's variations, of a model and of given ones."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.attacks import HostQuery, Rediffuse
from score_mia.attacks.products import Varied
from score_mia.check import UserError
from score_mia.codecs import Affine
from score_mia.sampling import Ddim, times_from
from score_mia.sampling.served import Service
from score_mia.sde import VP
from tests.oracles import gaussian_target, scales

SHAPE = (4, 4, 1)
RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, *SHAPE)).astype(np.float32)
QUERIES = HostQuery(IMAGES, None, np.arange(3), 17 * np.arange(3))


def test_distances_are_those_to_the_mean_of_the_first_n():
    drawn = RNG.integers(0, 256, (3, 5, *SHAPE)).astype(np.uint8)
    signal = Rediffuse(n=4, drawn=5)
    values, asked = signal.batch(None, QUERIES, ({"images": drawn},))
    away = drawn[:, :4].astype(np.float64).mean(axis=1) / 255 - IMAGES
    l1 = np.abs(away).mean(axis=(1, 2, 3))
    l2 = np.sqrt((away**2).mean(axis=(1, 2, 3)))
    np.testing.assert_allclose(values, -np.stack([l1, l2], axis=1), rtol=1e-6)
    np.testing.assert_array_equal(asked, 4.0)
    assert signal.needs == (Varied(5, 0.2, 3),)


def test_pixels_are_the_difference_itself():
    drawn = RNG.integers(0, 256, (3, 5, *SHAPE)).astype(np.uint8)
    away = np.abs(drawn.astype(np.float64).mean(axis=1) / 255 - IMAGES)
    signal = Rediffuse(n=5, pixels=SHAPE)
    values, asked = signal.batch(None, QUERIES, ({"images": drawn},))
    np.testing.assert_allclose(values, -away.reshape(3, 16), rtol=1e-6)
    np.testing.assert_array_equal(asked, 5.0)
    few = Rediffuse(n=5, pixels=(2, 1, 1)).batch(None, QUERIES, ({"images": drawn},))
    blocks = -away.reshape(3, 2, 2, 1, 4).mean(axis=(2, 4)).reshape(3, 2)
    np.testing.assert_allclose(few.values, blocks, rtol=1e-6)
    target = gaussian_target(VP(), np.zeros(SHAPE), np.eye(16))
    service = Service(Ddim(), None, SHAPE, rows=30).of(target.denoiser)
    columns = signal.columns(service)
    assert (columns.names[5], len(columns.names)) == ("rediffuse/1,1,0", 16)
    with pytest.raises(UserError, match="do not come down"):
        Rediffuse(pixels=(4, 4, 3)).columns(service)


def test_variations_of_a_standard_normal():
    """What is left of the image: alpha times the cosine of every move's angle."""
    sde, sampler, signal = VP(), Ddim(), Rediffuse(n=40, distances=("l2",))
    codec = Affine(-10.0, 10.0)  # so far apart that nothing is clipped
    target = gaussian_target(sde, np.zeros(SHAPE), np.eye(16), codec=codec)
    service = Service(sampler, None, SHAPE, rows=30).of(target.denoiser)
    (product,) = signal.needs
    found = signal.batch(service, QUERIES, (product.batch(service, QUERIES),)).values
    times = times_from(sampler, sde, 0.2, 3)
    angles = [np.arctan2(*scales(sde, t)[::-1]) for t in times]
    turned = -np.diff([*angles, 0.0])
    left = np.cos(angles[0]) * np.prod(np.cos(turned))
    size = np.sqrt(np.mean((2 * IMAGES - 1) ** 2, axis=(1, 2, 3)))
    np.testing.assert_allclose(-found[:, 0], (1 - left) * size / 2, rtol=0.05)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"n": 0}, "below 1"),
        ({"n": 3, "drawn": 2}, "below 3"),
        ({"distances": ()}, "is empty"),
        ({"distances": ("l3",)}, "unknown"),
        ({"strength": 0.0}, "not positive"),
        ({"steps": 0}, "below 1"),
        ({"pixels": (256, 256, 3)}, "196,608 columns"),
        ({"pixels": SHAPE, "distances": ("ssim",)}, "not read beside pixels"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Rediffuse(**fields)
