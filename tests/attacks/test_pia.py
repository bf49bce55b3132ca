"""PIA and PIAN against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Pia
from score_mia.check import UserError
from score_mia.sde import DDPM, VE, VP
from tests.helpers import ask
from tests.oracles import memorising_target, scales, seen, standard_target

IMAGE = jnp.asarray(np.random.default_rng(2).random((2, 2, 3), np.float32))
TIMES = (0.2, 0.7)


def read(signal, target):
    key = jax.random.key(3)
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, key))


def norm(x, p):
    return np.sum(np.abs(x) ** p) ** (1 / p)


def test_of_a_standard_normal():
    """|std_0 - std (alpha + std std_0)| ||x||_p for a process that keeps variance."""
    sde = VP()
    target, x = standard_target(sde, IMAGE)
    least = scales(sde, sde.t0)[1]
    exact = []
    for t in TIMES:
        alpha, std = scales(sde, t)
        exact.append(-abs(least - std * (alpha + std * least)) * norm(x, 4.0))
    found = read(Pia(times=TIMES), target)
    np.testing.assert_allclose(found, [*exact, 3.0], rtol=2e-5)


def test_pian_scales_the_noise_to_that_of_a_standard_normal():
    """By sqrt(2 / pi) over its mean size; the inverse factor would be caught here."""
    sde = VE(sigma_max=5.0)
    target, x = standard_target(sde, IMAGE)
    own = x * np.sqrt(2 / np.pi) / np.mean(np.abs(x))
    assert np.mean(np.abs(own)) == pytest.approx(
        np.mean(np.abs(np.random.default_rng(0).normal(size=10**6))), rel=2e-3
    )
    exact = []
    for t in TIMES:
        alpha, std = scales(sde, t)
        exact.append(-norm(seen(sde, t) * (alpha * x + std * own) - own, 2.0))
    signal = Pia(times=TIMES, norm=2.0, normalised=True)
    np.testing.assert_allclose(read(signal, target)[:2], exact, rtol=2e-5)
    assert signal.columns(target.denoiser).names == ("pian@0.2000", "pian@0.7000")


def test_the_flows_velocity_of_a_standard_normal():
    """0 where the variance is kept; std' eps(x_t) where alpha is 1."""
    sde = VE(sigma_max=5.0)
    target, x = standard_target(sde, IMAGE)
    growth = np.log(sde.sigma_max / sde.sigma_min)
    exact = []
    for t in TIMES:
        std, own = scales(sde, t)[1], seen(sde, sde.t0)
        exact.append(-norm(growth * std * seen(sde, t) * (1 + std * own) * x, 4.0))
    signal = Pia(times=TIMES, form="velocity")
    np.testing.assert_allclose(read(signal, target)[:2], exact, rtol=1e-4)


def test_noise_of_nothing_at_all_is_not_divided_by():
    """Of an image that VE's exact memory holds, the first answer is 0."""
    target = memorising_target(VE(sigma_max=5.0), np.asarray(IMAGE)[None])
    np.testing.assert_array_equal(read(Pia(normalised=True), target)[0], 0.0)


def test_the_papers_setting():
    target, _ = standard_target(DDPM(), IMAGE)
    columns = Pia().columns(target.denoiser)
    assert (columns.names, columns.evaluations) == (("pia@200",), 2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"times": ()}, "is empty"),
        ({"norm": 0.5}, "below 1"),
        ({"form": "score"}, "unknown"),
        ({"chunk": 0}, "below 1"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Pia(**fields)
