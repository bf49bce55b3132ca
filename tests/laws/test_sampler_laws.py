"""What every sampler in the table must do, for every kind of process."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.sampling import SAMPLERS, sample
from score_mia.sde import SMLD, VE, VP, RectifiedFlow, SubVP
from tests.oracles import gaussian_target, marginal, random_gaussian

SHAPE = (1, 3, 1)
MEAN, COVARIANCE = random_gaussian(SHAPE, seed=1)
STOCHASTIC = ("ancestral", "euler_maruyama", "reverse_diffusion", "predictor_corrector")


def prepared(name):
    """The sampler with enough steps for the tolerance below."""
    fields = {"ddim": {"steps": 100}, "heun": {"steps": 30}, "ode": {}}
    # A small snr: in three dimensions a single image's norm of the score is often
    # near 0, where the published step size has no bound.
    fields["predictor_corrector"] = {"steps": 150, "snr": 0.02}
    return SAMPLERS[name](**fields.get(name, {"steps": 150}))


PROCESSES = [VP(), SMLD(), SubVP(start=1e-2), RectifiedFlow()]


@pytest.mark.parametrize("sde", PROCESSES, ids=str)
@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_have_the_datas_mean_and_covariance(name, sde):
    if name == "ode" and type(sde) is not VP:
        pytest.skip("one process suffices: the solve itself is tested elsewhere")
    target, count = gaussian_target(sde, MEAN, COVARIANCE), 3000
    keys = jax.random.split(jax.random.key(0), count)
    sampler = prepared(name)
    draw = jax.jit(jax.vmap(lambda key: sample(target.denoiser, key, SHAPE, sampler)))
    x = np.asarray(target.codec.encode(draw(keys)), np.float64).reshape(count, -1)

    mean, covariance = marginal(sde, MEAN, COVARIANCE, sde.t0)
    # Denoising at t0 shrinks the law by what it cannot know: C (C + std^2)^-1 C.
    scale = float(sde.alpha(sde.t0))
    gain = scale * COVARIANCE @ np.linalg.inv(covariance)
    covariance = gain @ covariance @ gain.T
    mean_error = np.abs(x.mean(0) - mean / scale)
    spread = np.sqrt(np.diag(covariance))
    assert np.all(mean_error < 5 * spread / np.sqrt(count) + 0.01)
    # The sampling deviation of a covariance entry, and the discretisation's bias.
    allowed = 5 * np.outer(spread, spread) * np.sqrt(2 / count) + 0.03
    assert np.all(np.abs(np.cov(x.T) - covariance) < allowed)


@pytest.mark.parametrize("name", SAMPLERS)
def test_network_evaluations_are_what_they_are_said_to_be(name):
    counted = []
    sde = VP()
    target = gaussian_target(sde, MEAN, COVARIANCE)
    exact = target.apply

    def counting(params, x, label, condition):
        jax.debug.callback(lambda: counted.append(1))
        return exact(params, x, label)

    target = dataclasses.replace(target, apply=counting)
    for denoise in (True, False):
        counted.clear()
        sampler = SAMPLERS[name](steps=4, denoise=denoise)
        jax.jit(lambda key, s=sampler: sample(target.denoiser, key, SHAPE, s))(
            jax.random.key(0)
        ).block_until_ready()
        jax.effects_barrier()
        expected = sampler.evaluations(sde)
        assert len(counted) == expected or (name == "ode" and len(counted) > 20)


@pytest.mark.parametrize("name", SAMPLERS)
def test_stopping_short_leaves_the_noise_of_t0(name):
    sde = VE(sigma_min=0.2, sigma_max=20.0)
    target = gaussian_target(sde, MEAN, 1e-4 * np.eye(3))
    sampler = dataclasses.replace(prepared(name), denoise=False)
    keys = jax.random.split(jax.random.key(0), 1000)
    draw = jax.jit(jax.vmap(lambda key: sample(target.denoiser, key, SHAPE, sampler)))
    x = np.asarray(target.codec.encode(draw(keys))) - MEAN
    np.testing.assert_allclose(x.std(), 0.2, rtol=0.2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_row_does_not_know_its_neighbours(name):
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    sampler = SAMPLERS[name](steps=6)
    keys = jax.random.split(jax.random.key(0), 5)
    draw = jax.jit(jax.vmap(lambda key: sample(target.denoiser, key, SHAPE, sampler)))
    whole, turned = draw(keys), draw(keys[::-1])
    np.testing.assert_allclose(whole, turned[::-1], rtol=1e-6, atol=1e-6)
    alone = draw(jnp.broadcast_to(keys[3], (5,)))
    np.testing.assert_allclose(alone[0], whole[3], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_stochastic_samplers_use_fresh_noise_at_each_time(name):
    """From one start, two keys give different ends; deterministic ones do not."""
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    start = jax.random.normal(jax.random.key(9), SHAPE)
    sampler = SAMPLERS[name](steps=6)
    times = sampler.times(target.sde)
    run = jax.jit(lambda key: sampler.run(target.denoiser, start, times, key)[0])
    assert not np.allclose(run(jax.random.key(0)), run(jax.random.key(1)), atol=1e-3)
    steady = SAMPLERS["ddim"](steps=6)
    run = jax.jit(lambda key: steady.run(target.denoiser, start, times, key)[0])
    np.testing.assert_array_equal(run(jax.random.key(0)), run(jax.random.key(1)))
