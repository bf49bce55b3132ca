"""SimA and its Monte Carlo variant against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Sima
from score_mia.attacks.draws import noise_at
from score_mia.check import UserError
from score_mia.sde import DDPM, VP
from tests.helpers import ask
from tests.oracles import scales, standard_target

IMAGE = jnp.asarray(np.random.default_rng(2).random((2, 2, 3), np.float32))
TIMES = (0.1, 0.4)
KEY = jax.random.key(3)


def read(signal, target):
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, KEY))


@pytest.mark.parametrize("scaled", [True, False])
def test_of_a_standard_normal(scaled):
    """std^4 sum x^4 of the image as it is, (alpha std)^4 sum x^4 where it is scaled."""
    sde = VP()
    target, x = standard_target(sde, IMAGE)
    exact = []
    for t in TIMES:
        alpha, std = scales(sde, t)
        exact.append(-np.sum((std * (alpha if scaled else 1.0) * x) ** 4))
    found = read(Sima(times=TIMES, scaled=scaled), target)
    np.testing.assert_allclose(found, [*exact, 2.0], rtol=2e-5)


def test_the_mean_over_draws_is_taken_before_its_size():
    """std (alpha x + std mean z), whose size is not the mean size."""
    sde, draws = VP(), 3
    target, x = standard_target(sde, IMAGE)
    exact = []
    for t in TIMES:
        alpha, std = scales(sde, t)
        each = [noise_at(KEY, r, jnp.float32(t), x.shape) for r in range(draws)]
        exact.append(-np.sum(np.abs(std * (alpha * x + std * np.mean(each, 0))) ** 2))
    found = read(Sima(times=TIMES, draws=draws, order=2.0), target)
    np.testing.assert_allclose(found, [*exact, 6.0], rtol=2e-5)


def test_the_papers_setting():
    target, _ = standard_target(DDPM(), IMAGE)
    columns = Sima().columns(target.denoiser)
    assert columns.names[0] == "sima@10"
    assert columns.evaluations == len(columns.names) == 6
    assert Sima(draws=4).columns(target.denoiser).names[-1] == "sima_mc@300"


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"order": 0.0}, "below 1"), ({"draws": -1}, "below 0"), ({"times": ()}, "empty")],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Sima(**fields)
