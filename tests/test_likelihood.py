"""The likelihood against closed forms, other settings, and its own error bar."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.codecs import Affine
from score_mia.likelihood import (
    EXACT,
    METHODS,
    Adaptive,
    Divergence,
    FixedGrid,
    bits_per_dim,
    grid_error,
    log_prob,
)
from score_mia.parameterisation import Score, Velocity
from score_mia.sde import DDPM, SMLD, VE, VP, RectifiedFlow, SubVP
from tests.oracles import gaussian_target, marginal_log_prob, random_gaussian

SHAPE = (2, 2, 3)
MEAN, COVARIANCE = random_gaussian(SHAPE)
IMAGES = np.random.default_rng(3).random((6, *SHAPE), np.float32)
SDES = {
    "vp": VP(),
    "sub_vp": SubVP(),
    "ve": VE(),
    "ddpm": DDPM(),
    "smld": SMLD(),
    "flow": RectifiedFlow(),
}


def solved(target, **options):
    """log_prob of all images, with the exact terminal law as prior."""
    prior = marginal_log_prob(target, target.sde.t1)
    call = functools.partial(log_prob, target.denoiser, prior=prior, **options)
    keys = jax.random.split(jax.random.key(0), len(IMAGES))
    return jax.jit(jax.vmap(call))(jnp.asarray(IMAGES), keys)


def exact(target):
    """The log density of the images in nats on [0, 1]^d: that of x at t0, rescaled."""
    density = marginal_log_prob(target, target.sde.t0)
    inside = jax.vmap(lambda i: density(target.codec.encode(i)))(jnp.asarray(IMAGES))
    return np.asarray(inside) + IMAGES[0].size * target.codec.log_scale


@pytest.mark.parametrize("name", ["vp", "sub_vp", "ve", "flow"])
@pytest.mark.parametrize(
    "solver", [FixedGrid(192), Adaptive(rtol=1e-6, atol=1e-6)], ids=["grid", "adaptive"]
)
def test_gaussian_within_a_thousandth_of_a_nat(name, solver):
    target = gaussian_target(SDES[name], MEAN, COVARIANCE)
    found = solved(target, divergence=EXACT, solver=solver)
    np.testing.assert_allclose(found.log_prob, exact(target), atol=1e-3)
    assert np.all(np.asarray(found.standard_error) == 0)


@pytest.mark.parametrize("end", [0.99, 0.999])
def test_a_flow_that_ends_early_is_off_by_its_prior_alone(end):
    """N(0, end^2 I) in place of the law at t1, whose mean keeps (1 - end) x_0."""
    target = gaussian_target(RectifiedFlow(end=end), MEAN, COVARIANCE)
    options = {"divergence": EXACT, "solver": FixedGrid(192)}
    keys = jax.random.split(jax.random.key(0), len(IMAGES))
    call = functools.partial(log_prob, target.denoiser, **options)
    found = np.asarray(jax.jit(jax.vmap(call))(jnp.asarray(IMAGES), keys).log_prob)
    off = np.abs(found - exact(target))
    # Of first order in 1 - end: x_0 . x_1 of it, with both of the size of the latents.
    assert off.max() > 1e-3
    assert off.max() < 3 * (1 - end) * IMAGES[0].size


@pytest.mark.parametrize("name", ["ddpm", "smld"])
def test_discrete_models_between_their_steps(name):
    target = gaussian_target(SDES[name], MEAN, COVARIANCE)
    found = solved(target, divergence=EXACT, solver=FixedGrid(144))
    np.testing.assert_allclose(found.log_prob, exact(target), atol=5e-3)


@pytest.mark.parametrize(
    ("parameterisation", "codec"), [(Score(), Affine(0.0, 1.0)), (Velocity(), Affine())]
)
def test_density_does_not_depend_on_conventions(parameterisation, codec):
    """A density on images: a codec that halves the target's space doubles p(x)."""
    scale = (codec.high - codec.low) / 2
    shift = codec.low + scale  # the same data law, said in the codec's space
    target = gaussian_target(
        VP(), scale * MEAN + shift, scale**2 * COVARIANCE, parameterisation, codec
    )
    plain = gaussian_target(VP(), MEAN, COVARIANCE)
    found = solved(target, divergence=EXACT, solver=FixedGrid(192)).log_prob
    np.testing.assert_allclose(found, exact(target), atol=1e-3)
    np.testing.assert_allclose(exact(target), exact(plain), atol=1e-2)  # t0 > 0


@pytest.mark.parametrize("method", METHODS)
def test_order_of_convergence(method):
    order = {"heun": 2, "rk4": 4, "dopri5": 5, "adams": 3}[method]
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    coarse, fine = {"rk4": (16, 32), "dopri5": (18, 36)}.get(method, (24, 48))
    errors = [
        np.abs(
            solved(target, divergence=EXACT, solver=FixedGrid(n, method)).log_prob
            - exact(target)
        ).mean()
        for n in (coarse, fine)
    ]
    assert errors[0] / errors[1] > 2 ** (order - 1), errors


def test_adams_tells_about_what_a_lower_order_would_change():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    found = solved(target, divergence=EXACT, solver=FixedGrid(16))
    error = np.abs(np.asarray(found.log_prob) - exact(target))
    doubt = np.abs(np.asarray(found.grid_error))
    assert np.all(doubt > 0.3 * error)
    assert np.all(doubt < 100 * error.max())
    other = solved(target, divergence=EXACT, solver=FixedGrid(24, "heun")).grid_error
    assert np.all(np.isnan(np.asarray(other)))


@pytest.mark.parametrize("probe", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_and_knows_its_error(probe):
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    found = solved(target, divergence=Divergence(probes=256, probe=probe))
    error = np.asarray(found.standard_error)
    trace = solved(target, divergence=EXACT).log_prob
    z = (np.asarray(found.log_prob) - np.asarray(trace)) / error
    assert np.abs(z).max() < 4
    fewer = Divergence(probes=16, probe=probe)
    few = np.asarray(solved(target, divergence=fewer).standard_error)
    np.testing.assert_allclose(few.mean() / error.mean(), 4.0, rtol=0.35)


def test_both_clocks_and_any_method_agree():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    tight = {"rtol": 1e-6, "atol": 1e-6}
    want = solved(target, divergence=EXACT, solver=Adaptive(**tight)).log_prob
    for solver in (Adaptive("dopri5", **tight), Adaptive(clock="time", **tight)):
        found = solved(target, divergence=EXACT, solver=solver)
        np.testing.assert_allclose(found.log_prob, want, atol=2e-3)


@pytest.mark.parametrize("name", SDES)
def test_default_grid_is_good_to_a_hundredth_of_a_bit(name):
    target = gaussian_target(SDES[name], MEAN, COVARIANCE)
    found = solved(target, divergence=EXACT).log_prob
    nats = np.abs(np.asarray(found) - exact(target)).max()
    assert nats / (IMAGES[0].size * np.log(2)) < 0.01


def test_grid_costs_the_same_for_every_image_and_adaptive_does_not_lie():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    assert set(np.asarray(solved(target).evaluations)) == {64.0}
    loose = solved(target, solver=Adaptive(rtol=1e-2, atol=1e-2)).evaluations
    tight = solved(target, solver=Adaptive(rtol=1e-6, atol=1e-6)).evaluations
    assert np.all(np.asarray(tight) > np.asarray(loose))


def test_an_adaptive_solve_never_calls_back():
    # A device would wait for its host, and the compiled program could not be kept.
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    images, keys = jnp.asarray(IMAGES[:2]), jax.random.split(jax.random.key(0), 2)

    def solve(image, key):
        return log_prob(target.denoiser, image, key, solver=Adaptive())

    program = jax.jit(jax.vmap(solve)).lower(images, keys)
    assert "callback" not in program.as_text()


def test_a_solver_that_gives_up_says_nan():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    found = solved(target, solver=Adaptive(rtol=1e-6, atol=1e-6, max_steps=3))
    assert np.isnan(np.asarray(found.log_prob)).all()


def test_grid_error_is_the_distance_from_the_reference():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    key, images = jax.random.key(1), jnp.asarray(IMAGES)
    coarse = grid_error(target.denoiser, images, key, solver=FixedGrid(12))
    fine = grid_error(target.denoiser, images, key, solver=FixedGrid(96))
    assert coarse.grid_evaluations == 12.0
    assert fine.max < 1e-3 < coarse.mean <= coarse.max


def test_bits_per_dim_of_the_uniform_density():
    assert float(bits_per_dim(0.0, 12)) == 8.0
    assert float(bits_per_dim(12 * np.log(2.0), 12)) == pytest.approx(7.0)


def test_dequantisation_spreads_a_byte_over_its_cell():
    target = gaussian_target(VP(), MEAN, COVARIANCE)
    spread = solved(target, dequantise=True, divergence=EXACT).log_prob
    plain = solved(target, divergence=EXACT).log_prob
    difference = np.abs(np.asarray(spread) - np.asarray(plain))
    assert np.all(difference > 0)
    assert np.all(difference < 1.0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"probe": "radermacher"}, "did you mean 'rademacher'"),
        ({"kind": "trace"}, "is unknown"),
        ({"probes": 0}, "give 1 or more"),
    ],
)
def test_wrong_arguments_are_named(options, said):
    with pytest.raises(UserError, match=said):
        Divergence(**options)


def test_a_grid_of_no_whole_steps_is_refused():
    with pytest.raises(UserError, match="give a multiple of 6"):
        FixedGrid(50, "dopri5")
