"""SecMI's t-error against closed forms, and what its moves cost."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Secmi
from score_mia.check import UserError
from score_mia.sde import DDPM, SMLD, VE, VP
from tests.helpers import ask
from tests.oracles import scales, seen, standard_target

IMAGE = jnp.asarray(np.random.default_rng(2).random((2, 2, 3), np.float32))


def read(signal, target):
    key = jax.random.key(3)
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, key))


def test_of_a_standard_normal_a_move_turns_by_the_angle_between():
    """alpha = cos h, std = sin h: D(x; t -> u) = cos(h_u - h_t) x."""
    sde, signal = VP(), Secmi(levels=(100, 40), step=20)
    target, x = standard_target(sde, IMAGE)
    angles = [np.arctan2(*scales(sde, t)[::-1]) for t in signal.way(sde)]
    turned = np.diff(angles)
    exact = []
    for place in (5, 2):
        stretch = np.prod(np.cos(turned[:place])) ** 2
        exact.append(stretch * np.sin(turned[place]) ** 4 * np.sum(x**2))
    found = read(signal, target)
    np.testing.assert_allclose(found[:2], -np.asarray(exact), rtol=2e-3)
    assert found[2] == signal.columns(target.denoiser).evaluations == 8


def test_of_a_standard_normal_where_the_variance_grows():
    sde, signal = VE(sigma_max=5.0), Secmi(levels=(400,), step=100)
    target, x = standard_target(sde, IMAGE)

    def move(t, u):
        (a, s), (b, r) = scales(sde, t), scales(sde, u)
        return b * (1 - s * seen(sde, t)) / a + r * seen(sde, t)

    times = signal.way(sde)
    up = np.prod([move(t, u) for t, u in itertools.pairwise(times[:5])])
    away = move(times[4], times[5]) * move(times[5], times[4]) - 1
    exact = (up * away) ** 2 * np.sum(x**2)
    np.testing.assert_allclose(read(signal, target)[0], -exact, rtol=1e-3)


def test_the_papers_setting_costs_twelve_evaluations():
    target, _ = standard_target(DDPM(), IMAGE)
    columns = Secmi().columns(target.denoiser)
    assert (columns.names, columns.evaluations) == (("secmi@100",), 12)
    way = Secmi().way(DDPM())
    np.testing.assert_array_equal(way, np.arange(0, 111, 10))


def test_pixels_hold_what_the_error_sums():
    target, _ = standard_target(VP(), IMAGE)
    whole, pixels = Secmi(), Secmi(pixels=(2, 2, 3))
    columns = pixels.columns(target.denoiser)
    (name,) = whole.columns(target.denoiser).names
    assert columns.names[7] == f"{name}/1,0,1"
    assert columns.times is None
    assert columns.evaluations == 12
    found, error = read(pixels, target), read(whole, target)
    assert found.shape == (12 + 1,)
    assert found[:12].max() <= 0
    np.testing.assert_allclose(-np.sum(found[:12] ** 2), error[0], rtol=1e-5)
    assert found[12] == error[1] == 12
    # D is linear here: every pixel's difference is in proportion to the pixel.
    share = found[:12] / np.abs(2 * np.ravel(IMAGE) - 1)
    np.testing.assert_allclose(share, share[0], rtol=1e-2)


def test_fewer_pixels_are_means_over_blocks():
    target, _ = standard_target(VP(), IMAGE)
    fine = read(Secmi(pixels=(2, 2, 3)), target)[:12].reshape(2, 2, 3)
    coarse = read(Secmi(pixels=(1, 2, 3)), target)[:6].reshape(1, 2, 3)
    np.testing.assert_allclose(coarse[0], fine.mean(axis=0), rtol=1e-5)


def test_pixels_of_another_shape_are_refused():
    target, _ = standard_target(VP(), IMAGE)
    for pixels in ((4, 4, 3), (2, 2, 1)):
        signal = Secmi(pixels=pixels)
        with pytest.raises(UserError, match="do not come down to pixels"):
            signal.check_shape((2, 2, 3))
        with pytest.raises(UserError, match="do not come down to pixels"):
            read(signal, target)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"levels": (95,)}, "multiples of step=10"),
        ({"levels": (0,)}, "multiples of step=10"),
        ({"levels": ()}, "is empty"),
        ({"levels": (990,)}, "outside"),
        ({"step": 0}, "below 1"),
        ({"pixels": (256, 256, 3)}, "196,608 columns, above 16,384; give a height"),
        ({"pixels": (0, 4, 3)}, "is no"),
        ({"pixels": (4, 4, 3), "levels": (50, 100)}, "name one level"),
    ],
)
def test_levels_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Secmi(**fields)


def test_strides_below_a_step_are_refused():
    with pytest.raises(UserError, match="less than one of the process's 20 steps"):
        Secmi().way(SMLD(steps=20))
