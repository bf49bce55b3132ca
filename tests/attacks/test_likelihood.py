"""The likelihood attack: its column, diagnostics, and settings."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks.likelihood import Likelihood
from score_mia.check import UserError
from score_mia.likelihood import Adaptive, Divergence, FixedGrid, log_prob
from score_mia.sde import VP
from tests.helpers import ask
from tests.oracles import gaussian_target, random_gaussian

SHAPE = (2, 2, 3)
TARGET = gaussian_target(VP(), *random_gaussian(SHAPE, seed=4))
IMAGE = jnp.asarray(np.random.default_rng(5).random(SHAPE, np.float32))
KEY = jax.random.key(3)


def test_row_is_log_prob_then_what_it_cost():
    signal = Likelihood(probes=3, evaluations=30)
    value, evaluations, width, grid, bits = map(float, ask(signal, TARGET, IMAGE, KEY))
    how = dict(divergence=Divergence(probes=3), solver=FixedGrid(30))
    found = log_prob(TARGET.denoiser, IMAGE, KEY, **how)
    assert value == pytest.approx(float(found.log_prob), rel=1e-6)
    assert evaluations == 30.0
    unit = IMAGE.size * np.log(2)
    assert grid == pytest.approx(abs(float(found.grid_error)) / unit, rel=1e-4)
    students = 4.302653  # of two degrees of freedom, at 97.5 %
    reach = students * float(found.standard_error) / unit
    assert width == pytest.approx(reach + grid, rel=1e-5)
    assert bits == pytest.approx(8 - value / unit, rel=1e-5)
    assert signal.columns(TARGET).diagnostics[1:] == (
        "half_width_95",
        "grid_error",
        "bits_per_dim",
    )


def test_forward_passes_are_counted_before_the_run():
    assert Likelihood(probes=1, evaluations=48).columns(TARGET).evaluations == 96.0
    assert Likelihood(solver="adaptive").columns(TARGET).evaluations is None


def test_fields_choose_the_solver():
    assert Likelihood(evaluations=16, method="rk4").integrator() == FixedGrid(16, "rk4")
    adaptive = Likelihood(solver="adaptive", rtol=1e-3, clock="time").integrator()
    assert adaptive == Adaptive("tsit5", 1e-3, 1e-5, 4096, "time")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"solver": "fixd"}, "did you mean 'fixed'"),
        ({"method": "euler"}, "is unknown"),
        ({"probes": 0}, "give 1 or more"),
        ({"solver": "adaptive", "rtol": -1.0}, "is not positive"),
    ],
)
def test_wrong_settings_are_refused_when_made(fields, said):
    with pytest.raises(UserError, match=said):
        Likelihood(**fields)
