"""The likelihood's terms against their sum and against closed forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Terms
from score_mia.attacks.draws import noise_at
from score_mia.check import UserError
from score_mia.likelihood import Divergence, Still, log_prob
from score_mia.sde import DDPM, EDM, VP, RectifiedFlow
from tests.helpers import ask
from tests.oracles import (
    gaussian_target,
    marginal_log_prob,
    memorising_target,
    scales,
    standard_target,
)

RNG = np.random.default_rng(2)
IMAGE = jnp.asarray(RNG.random((2, 2, 3), np.float32))
KEY = jax.random.key(3)
TIMES = (0.1, 0.4)


def read(signal, target, image=IMAGE):
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, target, image, KEY))


@pytest.mark.parametrize("sde", [DDPM(), VP(), EDM(), RectifiedFlow()])
def test_the_exact_likelihood_is_their_sum(sde):
    turn = np.linalg.qr(RNG.normal(size=(12, 12)))[0]
    covariance = (turn * np.linspace(0.05, 1.5, 12)) @ turn.T
    target = gaussian_target(sde, np.full(IMAGE.shape, 0.2), covariance)
    density = jax.jit(lambda t: log_prob(t.denoiser, IMAGE, KEY, solver=Still(24)))
    found = read(Terms(nodes=24), target)
    assert found[-1] == 24
    np.testing.assert_allclose(found[:-1].sum(), density(target).log_prob, rtol=1e-4)


def test_of_a_standard_normal():
    """eps = std x: |eps|^2, the trace of its derivative, and what noise leaves."""
    sde = VP()
    signal = Terms(times=TIMES, kinds=("error", "divergence", "path"), draws=3)
    target, x = standard_target(sde, IMAGE)
    y = x / scales(sde, sde.t0)[0]
    path, divergence, error = [], [], []
    for t in TIMES:
        alpha, std = scales(sde, t)
        path.append(-np.sum((std * alpha * y) ** 2))
        divergence.append(std * std * x.size)
        first, second = (noise_at(KEY, r, jnp.float32(t), x.shape) for r in range(2))
        noises = [np.asarray(e, np.float64) for e in (first, -first, second)]
        left = [np.sum((e - std * (alpha * y + std * e)) ** 2) for e in noises]
        error.append(-np.mean(left))
    found = read(signal, target)
    np.testing.assert_allclose(found[:-1], [*error, *divergence, *path], rtol=2e-4)
    assert found[-1] == 2 * (1 + 3)


def test_the_bound_holds_and_touches():
    """Errors on the grid are log p less a constant, for whom the model is exact."""
    sde = VP()
    signal = Terms(nodes=32, kinds=("error",), draws=16)
    target, _ = standard_target(sde, IMAGE)
    others = [jnp.asarray(RNG.random((2, 2, 3), np.float32)) for _ in range(2)]
    bounds = [read(signal, target, image)[1:-1].sum() for image in others]
    exact = [
        marginal_log_prob(target, sde.t0)(target.codec.encode(image))
        for image in others
    ]
    gap = float(exact[0] - exact[1])
    np.testing.assert_allclose(bounds[0] - bounds[1], gap, atol=0.1)


def test_the_path_tells_how_far_the_nearest_member_is():
    """Of a memory every level says the same: |x - nearest|^2 alpha^2 / std^2."""
    sde, t = VP(), 0.02
    images = RNG.random((3, 4, 4, 1)).astype(np.float32)
    target = memorising_target(sde, images)
    image = images[0] + np.float32(0.01) * RNG.standard_normal((4, 4, 1), np.float32)
    alpha, std = scales(sde, t)
    far = 2 * np.linalg.norm(image.astype(np.float64) - images[0])
    found = read(Terms(times=(t,), kinds=("path",), logs=True), target, image)
    np.testing.assert_allclose(found[0], -2 * np.log(alpha * far / std), rtol=1e-3)


def test_a_divergence_needs_the_model_itself():
    assert Terms().access == "gradients"
    assert Terms(kinds=("path", "error")).access == "scores"
    assert Divergence().probes == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kinds": ()}, "empty"),
        ({"kinds": ("path", "path")}, "twice"),
        ({"kinds": ("prior",)}, "prior"),
        ({"nodes": 1}, "below 2"),
        ({"nodes": 8, "times": (0.1,)}, "with times"),
        ({"nodes": 8, "logs": True}, "nats"),
        ({"draws": 0}, "below 1"),
        ({"times": ()}, "empty"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Terms(**fields)
