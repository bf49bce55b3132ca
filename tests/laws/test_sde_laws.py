"""What every noising process must obey, against published formulas in float64."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from score_mia.auditing.sections import REQUIRED, resolve
from score_mia.check import UserError
from score_mia.sde import (
    DDPM,
    EDM,
    SDES,
    SMLD,
    VE,
    VP,
    Betas,
    Convention,
    RectifiedFlow,
    SubVP,
)
from score_mia.sde.discrete import _log_alpha_bar
from tests.beams.parts.flow import Flow

SECTIONS = (*REQUIRED, "network", "train")
B0, B1 = 0.1, 20.0
GROWTH = np.log(50.0 / 0.01)


def _vp_log_alpha(t):
    return -0.25 * t**2 * (B1 - B0) - 0.5 * t * B0


def _beta(t):
    return B0 + t * (B1 - B0)


def _ve_std(t):
    return 0.01 * np.exp(GROWTH * t)


def _alpha_bar(sde):
    """The published table, by direct multiplication."""
    betas = np.linspace(
        sde.beta_min / sde.steps, sde.beta_max / sde.steps, sde.steps, dtype=np.float64
    )
    return betas, np.cumprod(1.0 - betas)


# name: log alpha, std, f, g^2 as published, on the process's own clock.
PUBLISHED = {
    "vp": (
        _vp_log_alpha,
        lambda t: np.sqrt(1 - np.exp(2 * _vp_log_alpha(t))),
        lambda t: -0.5 * _beta(t),
        _beta,
    ),
    "sub_vp": (
        _vp_log_alpha,
        lambda t: 1 - np.exp(2 * _vp_log_alpha(t)),
        lambda t: -0.5 * _beta(t),
        lambda t: _beta(t) * (1 - np.exp(4 * _vp_log_alpha(t))),
    ),
    "ve": (
        lambda t: 0.0 * t,
        _ve_std,
        lambda t: 0.0 * t,
        lambda t: 2 * GROWTH * _ve_std(t) ** 2,
    ),
    "edm": (lambda t: 0.0 * t, lambda t: t, lambda t: 0.0 * t, lambda t: 2 * t),
    "rectified_flow": (
        lambda t: np.log(1 - t),
        lambda t: t,
        lambda t: -1 / (1 - t),
        lambda t: 2 * t / (1 - t),
    ),
}
PUBLISHED["flow"] = PUBLISHED["rectified_flow"]
ALL = {**SDES, "flow": Flow}  # one of them from outside the package
NAMES = sorted(ALL)
# Of differences; 1/(1 - t) bends too much for twice as much.
STEP = {"flow": 1e-3, "rectified_flow": 1e-3}


def _at(function, t):
    """A function of one time, at many."""
    return np.asarray(jax.vmap(function)(jnp.asarray(t, jnp.float32)))


def _inside(sde, count=41):
    return np.linspace(sde.t0, sde.t1, count + 2)[1:-1].astype(np.float32)


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_equals_the_published_process(name):
    sde = ALL[name]()
    t = _inside(sde)
    t64 = t.astype(np.float64)
    log_alpha, std, f, g2 = (formula(t64) for formula in PUBLISHED[name])
    np.testing.assert_allclose(_at(sde.log_alpha, t), log_alpha, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(_at(sde.std, t), std, rtol=3e-6)
    np.testing.assert_allclose(_at(sde.drift, t), f, rtol=2e-6, atol=1e-7)
    measured = _at(sde.diffusion_squared, t)
    # A difference of two terms of the size of 2 |f| std^2 + g^2, rounded in float32.
    scale = g2 + 4 * np.abs(f) * std**2
    np.testing.assert_array_less(np.abs(measured - g2), 2e-6 * scale)


@pytest.mark.parametrize("name", NAMES)
def test_drift_and_diffusion_move_the_moments(name):
    """d log alpha = f dt and d std^2 = (2 f std^2 + g^2) dt, by finite differences."""
    sde = ALL[name]()
    t = _inside(sde)
    h = np.float32(STEP.get(name, 2e-3) * (sde.t1 - sde.t0))
    t = np.clip(t, sde.t0 + h, sde.t1 - h)
    slope = (_at(sde.log_alpha, t + h) - _at(sde.log_alpha, t - h)) / (2 * h)
    f, g2 = _at(sde.drift, t), _at(sde.diffusion_squared, t)
    np.testing.assert_allclose(f, slope, rtol=1e-3, atol=1e-7)
    grown = (_at(sde.std, t + h) ** 2 - _at(sde.std, t - h) ** 2) / (2 * h)
    expected = np.asarray(2 * f * _at(sde.std, t) ** 2 + g2)
    np.testing.assert_allclose(
        grown, expected, rtol=2e-3, atol=1e-4 * np.abs(np.asarray(g2)).max()
    )


@pytest.mark.parametrize("name", NAMES)
def test_bridge_composes_to_the_marginal(name):
    """q(x_s | x_t, x_0) after q(x_t | x_0) is q(x_s | x_0)."""
    sde = ALL[name]()
    t = _inside(sde, 12)
    s, t = (jnp.asarray(v) for v in np.array([(s, u) for s in t for u in t if s < u]).T)
    a, b, std = jax.vmap(sde.bridge)(s, t)
    np.testing.assert_allclose(a + b * _at(sde.alpha, t), _at(sde.alpha, s), rtol=1e-5)
    np.testing.assert_allclose(
        (b * _at(sde.std, t)) ** 2 + std**2, _at(sde.std, s) ** 2, rtol=1e-5
    )


GIVEN = tuple(np.geomspace(1e-4, 0.3, 40).tolist())


@pytest.mark.parametrize(
    "sde",
    [
        Betas(),
        Betas("cosine"),
        Betas("linear", 1e-4, 0.02),
        Betas("cosine", steps=50),
        Betas("given", steps=40, betas=GIVEN),
    ],
    ids=lambda sde: f"{sde.schedule}-{sde.steps}",
)
def test_any_betas_are_exact_at_their_steps_and_fall_between(sde):
    bar = np.cumprod(1.0 - sde.table)
    t = np.arange(sde.steps)
    np.testing.assert_allclose(2 * _at(sde.log_alpha, t), np.log(bar), rtol=1e-6)
    np.testing.assert_allclose(_at(sde.std, t), np.sqrt(1 - bar), rtol=3e-6)
    between = np.linspace(0, sde.steps - 1, 8 * sde.steps + 1)
    assert np.all(np.diff(_at(sde.log_snr, between)) < 0)


def test_linear_betas_are_those_of_ddpm():
    t = np.arange(1000)
    ours, other = Betas("linear", 1e-4, 0.02), DDPM()
    np.testing.assert_allclose(
        _at(ours.log_alpha, t), _at(other.log_alpha, t), rtol=2e-6, atol=1e-7
    )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (dict(schedule="given", steps=5, betas=(0.1,) * 4), "are 4 where steps=5"),
        (dict(betas=(0.1,) * 1000), "are 1000"),
        (dict(schedule="given", steps=4, betas=(0.1, 0.2, 0.3, 1.0)), "leaves signal"),
        (dict(schedule="scaled"), "did you mean 'scaled_linear'"),
    ],
)
def test_wrong_betas_are_refused(fields, told):
    with pytest.raises(UserError, match=told):
        Betas(**fields)


def test_a_flow_ends_before_the_noise():
    with pytest.raises(UserError, match="below 1"):
        RectifiedFlow(end=1.0)


def test_bridge_is_ddpm_ancestral_step():
    """Ho et al. 2020, Eqs. 6-7."""
    sde = DDPM()
    betas, bar = _alpha_bar(sde)
    t = np.array([1, 2, 10, 200, 500, 998, 999])
    a, b, std = jax.vmap(sde.bridge)(
        jnp.asarray(t - 1, jnp.float32), jnp.asarray(t, jnp.float32)
    )
    before, now, beta = bar[t - 1], bar[t], betas[t]
    tilde = (1 - before) / (1 - now) * beta
    np.testing.assert_allclose(a, np.sqrt(before) * beta / (1 - now), rtol=1e-3)
    np.testing.assert_allclose(
        b, np.sqrt(1 - beta) * (1 - before) / (1 - now), rtol=1e-4
    )
    np.testing.assert_allclose(std, np.sqrt(tilde), rtol=5e-4)


def test_bridge_is_smld_ancestral_step():
    """Song et al. 2021, Eq. 47 (given x_0 in place of the score)."""
    sde = SMLD()
    sigma = np.geomspace(0.01, 50.0, 1000)
    t = np.array([1, 2, 10, 200, 500, 998, 999])
    a, b, std = jax.vmap(sde.bridge)(
        jnp.asarray(t - 1, jnp.float32), jnp.asarray(t, jnp.float32)
    )
    low, high = sigma[t - 1] ** 2, sigma[t] ** 2
    np.testing.assert_allclose(a, (high - low) / high, rtol=1e-3)
    np.testing.assert_allclose(b, low / high, rtol=1e-4)
    np.testing.assert_allclose(std, np.sqrt(low * (high - low) / high), rtol=5e-4)


@pytest.mark.parametrize("name", NAMES)
def test_time_at_inverts_log_snr(name):
    sde = ALL[name]()
    t = _inside(sde)
    log_snr = _at(sde.log_snr, t)
    assert np.all(np.diff(log_snr) < 0), "log-SNR must fall along the clock"
    back = _at(sde.time_at, log_snr)
    np.testing.assert_allclose(_at(sde.log_snr, back), log_snr, atol=2e-5, rtol=2e-6)
    np.testing.assert_allclose(back, t, rtol=1e-4)
    assert sde.time_at(1e6) == np.float32(sde.t0)
    assert sde.time_at(-1e6) == np.float32(sde.t1)


@pytest.mark.parametrize("name", NAMES)
def test_times_span_the_clock(name):
    sde = ALL[name]()
    times = sde.times()
    assert times.dtype == np.float32
    assert len(times) == 1000
    assert (times[0], times[-1]) == (np.float32(sde.t0), np.float32(sde.t1))
    assert np.all(np.diff(times) > 0)
    few = sde.times(7)
    assert len(few) == 7
    assert np.all(np.diff(few) > 0)
    if sde.discrete_steps is None:
        assert len(sde.times(1500)) == 1500
        return
    np.testing.assert_array_equal(times, np.arange(1000))
    assert set(few) <= set(times)
    with pytest.raises(UserError, match="discrete steps"):
        sde.times(1001)


@pytest.mark.parametrize(
    "sde", [DDPM(), DDPM(beta_max=4.0), DDPM(steps=300), DDPM(0.5, 30.0, 2000)]
)
def test_ddpm_is_the_product_of_its_steps(sde):
    _, bar = _alpha_bar(sde)
    t = sde.times()
    np.testing.assert_allclose(_at(sde.log_alpha, t), 0.5 * np.log(bar), rtol=3e-6)
    np.testing.assert_allclose(_at(sde.std, t), np.sqrt(1 - bar), rtol=3e-6)
    m = np.arange(1, sde.steps + 1) / sde.steps
    coefficients = _log_alpha_bar(sde.beta_min, sde.beta_max, sde.steps)
    fit = m * np.polynomial.Polynomial(coefficients)(m)
    np.testing.assert_allclose(fit, np.log(bar), atol=1e-9, rtol=1e-8)


def test_smld_is_the_geometric_table():
    sde = SMLD(sigma_min=0.01, sigma_max=90.0, steps=500)
    np.testing.assert_allclose(
        _at(sde.std, sde.times()), np.geomspace(0.01, 90.0, 500), rtol=3e-6
    )
    np.testing.assert_array_equal(_at(sde.alpha, sde.times()), 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_prior_is_a_centred_normal_of_the_last_noise_level(name):
    sde = ALL[name]()
    x = np.random.default_rng(0).normal(size=(2, 3, 1)) * float(sde.std(sde.t1))
    expected = norm(scale=float(sde.std(sde.t1))).logpdf(x).sum()
    found = sde.prior_log_prob(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_is_a_hashable_value_without_arrays(name):
    sde = ALL[name]()
    assert jax.tree.leaves(sde) == []
    assert hash(sde) == hash(ALL[name]())
    assert sde == ALL[name]()


@pytest.mark.parametrize(
    ("part", "fields"),
    [
        (VP, {"beta_min": 20.0, "beta_max": 0.1}),
        (SubVP, {"beta_min": -1.0}),
        (VE, {"sigma_min": 0.0}),
        (EDM, {"sigma_max": 1e-4}),
        (SMLD, {"steps": 1}),
        (DDPM, {"beta_max": 200.0}),
    ],
)
def test_impossible_processes_are_refused(part, fields):
    with pytest.raises(UserError):
        part(**fields)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Own(VP):
    """A process from outside, whose networks are told levels counted downwards."""

    convention = Convention("velocity", {"label": "time"}, counts_down=True, low=0.25)


@pytest.mark.parametrize(
    ("process", "meaning", "low"),
    [
        ({"name": "vp"}, {"name": "noise", "scale": 999.0}, -1.0),
        ({"name": "sub_vp"}, {"name": "noise", "scale": 999.0}, -1.0),
        ({"name": "ddpm", "steps": 500}, {"name": "noise"}, -1.0),
        (
            {"name": "smld", "steps": 10},
            {"name": "score", "scale": -1.0, "offset": 9.0},
            0.0,
        ),
        ({"name": "ve"}, {"name": "score", "label": "std"}, 0.0),
        ({"name": "edm"}, {"name": "karras"}, -1.0),
        ({"name": "rectified_flow"}, {"name": "flow", "scale": 1000.0}, -1.0),
        (
            {"name": f"{__name__}:Own"},
            {"name": "velocity", "label": "time", "scale": -1.0, "offset": 1.0},
            0.25,
        ),
    ],
)
def test_what_a_config_leaves_open_the_process_states(process, meaning, low):
    # Word for word: these sections are part of a checkpoint's identity.
    config = {name: {} for name in SECTIONS} | {"sde": process}
    found = resolve(config)
    assert json.dumps(found["parameterisation"]) == json.dumps(meaning)
    assert found["codec"] == {"low": low, "high": 1.0}
    said = {"name": "score"}
    assert resolve({**config, "parameterisation": said})["parameterisation"] == said


def no_process():
    return {}


def test_a_process_must_be_one():
    config = {name: {} for name in SECTIONS}
    with pytest.raises(UserError, match="made a dict"):
        resolve({**config, "sde": {"name": f"{__name__}:no_process"}})
    with pytest.raises(UserError, match="does not say what it takes"):
        resolve({**config, "sde": {"name": "builtins:dict"}})
