"""Every parameterisation means what its paper says, for every process."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.device import jit
from score_mia.parameterisation import (
    PARAMETERISATIONS,
    Flow,
    Karras,
    Noise,
    Score,
    Velocity,
)
from score_mia.sde import EDM, SDES, SMLD, VE, VP, RectifiedFlow
from score_mia.target import Target
from tests.beams.parts import flow as outside
from tests.oracles import gaussian_target, marginal, random_gaussian

SHAPE = (2, 2, 1)
FRACTIONS = (0.02, 0.3, 0.7, 1.0)
# The first time is left out: at sub-VP's std = 1e-6 "denoised" holds no digits.


def _karras(alpha, std, x0, eps):
    """F of Karras et al. 2022, Eq. 7 and Table 1, at EDM's input x / alpha."""
    s, data = std / alpha, 0.5
    y = x0 + s * eps
    c_skip = data**2 / (s**2 + data**2)
    c_out = s * data / np.sqrt(s**2 + data**2)
    return (x0 - c_skip * y) / c_out


# What F is for x = alpha x0 + std eps when the network is perfect, by definition.
MEANS = {
    "noise": lambda alpha, std, x0, eps: eps,
    "score": lambda alpha, std, x0, eps: -eps / std,
    "velocity": lambda alpha, std, x0, eps: alpha * eps - std * x0,
    "denoised": lambda alpha, std, x0, eps: x0,
    "karras": _karras,
    "flow": lambda alpha, std, x0, eps: eps - x0,
    "straight": lambda alpha, std, x0, eps: eps - x0,
}
ALL = {
    **PARAMETERISATIONS,
    "straight": outside.Straight,
}  # one from outside the package
PROCESSES = {**SDES, "flow": outside.Flow}


def _given(params, x, label, condition):
    """A network that answers with its parameters."""
    return params[None]


def _times(sde):
    return [sde.t0 + f * (sde.t1 - sde.t0) for f in FRACTIONS]


def test_each_has_its_definition():
    assert set(MEANS) == set(ALL)


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_a_perfect_output_gives_the_noise_back(process):
    sde = PROCESSES[process]()
    x0, eps = np.random.default_rng(3).normal(size=(2, *SHAPE))

    @jit
    def noise(x, t, outputs):
        targets = {
            name: Target(output, sde, ALL[name](), _given)
            for name, output in outputs.items()
        }
        return {name: target.denoiser.eps(x, t) for name, target in targets.items()}

    for t in _times(sde):
        alpha, std = float(sde.alpha(t)), float(sde.std(t))
        outputs = {
            name: jnp.asarray(mean(alpha, std, x0, eps), jnp.float32)
            for name, mean in MEANS.items()
        }
        x = jnp.asarray(alpha * x0 + std * eps, jnp.float32)
        # The rounding of x itself, seen through 1 / std.
        tolerance = 4e-6 * (1 + np.abs(x).max() / std)
        for name, found in noise(x, t, outputs).items():
            np.testing.assert_allclose(
                found, eps, atol=tolerance, rtol=2e-5, err_msg=f"{name} at t={t}"
            )


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_the_gaussian_oracle_survives_the_round_trip(process):
    """eps, score and x0 agree with linear algebra in float64."""
    sde = PROCESSES[process]()
    mean, covariance = random_gaussian(SHAPE)
    labels = {"noise": "time", "score": "std", "karras": "log_sigma"}
    targets = {
        name: gaussian_target(
            sde,
            mean,
            covariance,
            part(label=labels.get(name, "time"), scale=-0.5, offset=3.0),
        )
        for name, part in ALL.items()
    }

    @jit
    def answers(x, t):
        return {
            name: (
                target.denoiser.eps(x, t),
                target.denoiser.score(x, t),
                target.denoiser.denoised(x, t),
            )
            for name, target in targets.items()
        }

    z = np.random.default_rng(5).normal(size=SHAPE)
    for fraction in FRACTIONS[1:]:
        t = sde.t0 + fraction * (sde.t1 - sde.t0)
        m, v = marginal(sde, mean, covariance, t)
        x = jnp.asarray(z * np.sqrt(np.trace(v) / len(v)), jnp.float32)
        std, alpha = float(sde.std(t)), float(sde.alpha(t))
        score = -np.linalg.solve(v, np.asarray(x, np.float64).ravel() - m)
        score = score.reshape(SHAPE)
        x0 = (np.asarray(x, np.float64) + std**2 * score) / alpha
        for name, (eps, slope, denoised) in answers(x, t).items():
            told = f"{name} at t={t}"
            np.testing.assert_allclose(eps, -std * score, atol=3e-5, err_msg=told)
            np.testing.assert_allclose(slope, score, atol=3e-5 / std, err_msg=told)
            np.testing.assert_allclose(
                denoised, x0, atol=3e-5 * std / alpha + 1e-5, err_msg=told
            )


@pytest.mark.parametrize(
    ("sde", "meaning", "t", "told"),
    [
        (VP(), Noise(scale=999.0), 0.25, 249.75),
        (SMLD(), Score(scale=-1.0, offset=999.0), 200.0, 799.0),
        (VE(), Score(label="std"), 1.0, 50.0),
        (EDM(), Karras(), 2.0, 0.25 * np.log(2.0)),
        # Off EDM its input is x / alpha, whose noise level is std / alpha.
        (VP(), Karras(), 0.5, 0.25 * np.log(np.sqrt(np.expm1(0.25 * 19.9 / 2 + 0.05)))),
    ],
)
def test_the_network_is_told_its_published_label(sde, meaning, t, told):
    seen = []

    def apply(params, x, label, condition):
        seen.append((x, label))
        return x

    Target(None, sde, meaning, apply).denoiser.eps(jnp.ones(SHAPE), t)
    (x, label), *_ = seen
    assert x.shape == (1, *SHAPE)
    assert label.shape == (1,)
    np.testing.assert_allclose(label[0], told, rtol=1e-6)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_the_velocity_of_a_flow_is_not_salimans_v(t):
    """Each output read as the other is off by alpha (std eps - alpha x0), stated here.

    Over the sum of squares where eps - x0 is read as v; with the other sign where v is
    read as eps - x0. The two agree at the ends of the way only.
    """
    sde, alpha, std = RectifiedFlow(), 1 - t, t
    x0, eps = np.random.default_rng(3).normal(size=(2, *SHAPE))
    x = jnp.asarray(alpha * x0 + std * eps, jnp.float32)
    flow, v = MEANS["flow"], MEANS["velocity"]
    off = alpha * (std * eps - alpha * x0)

    def read(meaning, mean):
        output = jnp.asarray(mean(alpha, std, x0, eps), jnp.float32)
        return Target(output, sde, meaning, _given).denoiser.eps(x, t) - eps

    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(read(Flow(), flow), 0 * eps, **close)
    np.testing.assert_allclose(read(Velocity(), v), 0 * eps, **close)
    total = alpha**2 + std**2
    np.testing.assert_allclose(read(Velocity(), flow), off / total, **close)
    np.testing.assert_allclose(read(Flow(), v), -off, **close)


def test_a_flow_told_backwards_is_the_same_flow():
    """SiT: time 1 - t, and x0 - eps. SD3: 1000 t, and eps - x0."""
    sde = RectifiedFlow()
    mean, covariance = random_gaussian(SHAPE)
    backwards = Flow(scale=-1.0, offset=1.0, reverse=True)
    targets = [
        gaussian_target(sde, mean, covariance, meaning)
        for meaning in (Flow(scale=1000.0), backwards)
    ]
    x = jnp.asarray(np.random.default_rng(5).normal(size=SHAPE), jnp.float32)
    for t in (0.1, 0.5, 0.9):
        forth, back = (target.denoiser.eps(x, t) for target in targets)
        np.testing.assert_allclose(forth, back, rtol=1e-4, atol=1e-5)
        outputs = [
            target.apply(target.params, x[None], label)
            for target, label in zip(
                targets, (jnp.asarray([1000 * t]), jnp.asarray([1 - t])), strict=True
            )
        ]
        np.testing.assert_allclose(outputs[0], -outputs[1], rtol=1e-4, atol=1e-4)


def test_karras_scales_the_input_to_unit_variance():
    seen = []

    def apply(params, x, label, condition):
        seen.append(x)
        return x

    x = jnp.ones(SHAPE)
    Target(None, EDM(), Karras(), apply).denoiser.eps(x, 2.0)
    np.testing.assert_allclose(seen[0][0], 1 / np.sqrt(2.0**2 + 0.5**2), rtol=1e-6)


def test_unknown_labels_are_refused():
    with pytest.raises(UserError, match="did you mean 'log_std'"):
        Noise(label="logstd")
