"""The velocity's error on the straight path, for flows and for other processes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import StraightPath
from score_mia.attacks.draws import noise_at
from score_mia.check import UserError
from score_mia.sde import DDPM, VE, RectifiedFlow
from tests.helpers import ask
from tests.oracles import scales, seen, standard_target

IMAGE = jnp.asarray(np.random.default_rng(2).random((2, 2, 3), np.float32))
KEY = jax.random.key(3)


@pytest.mark.parametrize("sde", [RectifiedFlow(), DDPM()], ids=str)
def test_of_a_standard_normal(sde):
    """u = eps - x0 at x_t, against z - x, both written out."""
    signal = StraightPath(places=(0.3, 0.5), draws=2)
    target, x = standard_target(sde, IMAGE)
    exact = []
    for t in signal.at(sde):
        (alpha, std), errors = scales(sde, t), []
        for draw in range(2):
            z = np.asarray(noise_at(KEY, draw, jnp.float32(t), x.shape), np.float64)
            x_t = alpha * x + std * z
            eps = seen(sde, t) * x_t
            clean = (x_t - std * eps) / alpha
            errors.append(np.mean((eps - clean - (z - x)) ** 2))
        exact.append(-np.mean(errors))
    found = np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, KEY))
    np.testing.assert_allclose(found, [*exact, 4.0], rtol=1e-4)


def test_places_are_a_flows_own_times():
    np.testing.assert_allclose(
        StraightPath().at(RectifiedFlow()), [0.25, 0.5, 0.75], atol=1e-4
    )
    (middle,) = StraightPath(places=(0.5,)).at(DDPM())
    alpha, std = scales(DDPM(), middle)
    assert alpha == pytest.approx(std, rel=0.01)


def test_titles_tell_the_statistics_apart():
    target, _ = standard_target(DDPM(), IMAGE)
    assert StraightPath().columns(target.denoiser).title == "Flow (T_naive)"
    assert StraightPath(draws=4).columns(target.denoiser).title == "Flow (T_mc)"


@pytest.mark.parametrize("places", [(), (0.0,), (1.0,)])
def test_places_off_the_path_are_refused(places):
    with pytest.raises(UserError, match=r"is empty|no place on a path"):
        StraightPath(places=places)


def test_noise_that_the_process_does_not_reach_is_refused():
    with pytest.raises(UserError, match="more or less noise than the process has"):
        StraightPath(places=(0.9,)).at(VE(sigma_max=5.0))
