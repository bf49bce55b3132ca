"""The loss attack against closed forms, and what its columns promise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks.loss import Loss
from score_mia.check import UserError
from score_mia.sde import DDPM, SMLD, VE, VP, SubVP
from tests.helpers import ask
from tests.oracles import gaussian_target, marginal, random_gaussian

SHAPE = (2, 2, 3)
MEAN, COVARIANCE = random_gaussian(SHAPE, seed=4)
IMAGE = jnp.asarray(np.random.default_rng(5).random(SHAPE, np.float32))
KEY = jax.random.key(3)


def expected_loss(target, image, t):
    """E |eps - eps_theta|^2 / d of one image for the exact network of N(m, C).

    eps_theta = std S^-1 (alpha (x - m) + std eps), S = alpha^2 C + std^2 I, so the
    error is (I - std^2 S^-1) eps - alpha std S^-1 (x - m).
    """
    sde = target.sde
    alpha, std = float(sde.alpha(t)), float(sde.std(t))
    x = np.asarray(target.codec.encode(image), np.float64).ravel()
    _, s = marginal(sde, MEAN, COVARIANCE, t)
    inverse = np.linalg.inv(s)
    spread = np.eye(x.size) - std**2 * inverse
    shift = alpha * std * inverse @ (x - MEAN.ravel())
    return (np.sum(spread**2) + shift @ shift) / x.size


@pytest.mark.parametrize("sde", [VP(), SubVP(), VE(), DDPM(), SMLD()], ids=str)
def test_expectation_is_the_closed_form(sde):
    target = gaussian_target(sde, MEAN, COVARIANCE)
    scale = 1.0 if sde.discrete_steps is None else 999.0
    times = tuple(float(np.float32(round(scale * t, 3))) for t in (0.05, 0.3, 0.8))
    times = tuple(round(t) if scale > 1 else t for t in times)
    signal = Loss(times=times, draws=4000, chunk=4000)
    found = -np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, KEY))[:3]
    want = [expected_loss(target, IMAGE, t) for t in times]
    np.testing.assert_allclose(found, want, rtol=0.06)


def test_default_is_every_step_or_a_thousand_times():
    assert len(Loss().names(DDPM())) == 1000
    assert Loss().names(DDPM())[0] == "loss@0"
    assert Loss().names(SMLD())[-1] == "loss@999"
    times = Loss().at(VP())
    assert len(times) == 1000
    assert (times[0], times[-1]) == (np.float32(VP().t0), np.float32(VP().t1))
    np.testing.assert_allclose(np.diff(times), np.diff(times)[0], rtol=1e-3)
    target = gaussian_target(DDPM(), MEAN, COVARIANCE)
    assert Loss(times=10, draws=3).columns(target.denoiser).evaluations == 30.0


def test_a_column_does_not_depend_on_its_neighbours_nor_on_the_chunk():
    target = gaussian_target(DDPM(), MEAN, COVARIANCE)
    alone = ask(Loss(times=(300,), chunk=1), target, IMAGE, KEY)
    among = ask(Loss(times=(5, 300, 700, 999), chunk=3), target, IMAGE, KEY)
    assert float(alone[0]) == pytest.approx(float(among[1]), rel=1e-6)
    assert (float(alone[-1]), float(among[-1])) == (1.0, 4.0)


def test_more_draws_extend_the_first():
    """Draw r has a noise of its own: the mean of 2 draws holds the single one."""
    target = gaussian_target(DDPM(), MEAN, COVARIANCE)
    one, two = (
        float(ask(Loss(times=(300,), draws=n), target, IMAGE, KEY)[0]) for n in (1, 2)
    )
    assert one != two
    other = 2 * two - one
    assert other < 0


def test_noise_is_the_keys():
    target = gaussian_target(DDPM(), MEAN, COVARIANCE)
    signal = Loss(times=(300,))
    first = ask(signal, target, IMAGE, KEY)
    assert float(first[0]) == float(ask(signal, target, IMAGE, KEY)[0])
    assert float(first[0]) != float(ask(signal, target, IMAGE, jax.random.key(4))[0])


@pytest.mark.parametrize(
    ("times", "sde", "said"),
    [
        ((2.5,), DDPM(), "is no step of this discrete model"),
        ((1000,), DDPM(), "outside"),
        ((1.5,), VP(), "outside"),
        ((0.50001, 0.50002), VP(), "share a name"),
        ((), VP(), "is empty"),
    ],
)
def test_times_that_cannot_be_are_refused(times, sde, said):
    with pytest.raises(UserError, match=said):
        Loss(times=times).names(sde)
