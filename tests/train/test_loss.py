from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.codecs import Affine
from score_mia.parameterisation import Noise, Score
from score_mia.sde import DDPM, EDM, SMLD, VE, VP
from score_mia.target import Target
from score_mia.train.loss import Objective

IMAGE = np.random.default_rng(0).uniform(size=(2, 3, 1)).astype(np.float32)


class Spy:
    """A network that answers 0.3 x + 0.1 and remembers what it was asked."""

    def __call__(self, params, x, label, condition=None, *, dropout_key=None):
        self.x, self.label = np.asarray(x[0], np.float64), float(label[0])
        self.dropout_key = dropout_key
        return 0.3 * x + 0.1

    @property
    def answer(self):
        return 0.3 * self.x + 0.1


def observe(sde, parameterisation, objective, seed=3):
    spy = Spy()
    target = Target(None, sde, parameterisation, spy, Affine(-1.0, 1.0))
    loss = objective(target, jnp.asarray(IMAGE), jax.random.key(seed))
    return spy, float(loss), 2.0 * IMAGE.astype(np.float64) - 1.0


def reduced(square, mean):
    return square.mean() if mean else 0.5 * square.sum()


@pytest.mark.parametrize("mean", [True, False])
def test_ddpm_loss_is_the_simple_loss_of_ho_et_al(mean):
    objective = Objective(reduce_mean=mean)
    spy, loss, x0 = observe(DDPM(), Noise(), objective)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[int(spy.label)]
    noise = (spy.x - np.sqrt(alpha_bar) * x0) / np.sqrt(1 - alpha_bar)
    want = reduced((spy.answer - noise) ** 2, mean)
    np.testing.assert_allclose(loss, want, rtol=2e-5)


@pytest.mark.parametrize("mean", [True, False])
def test_smld_loss_weights_the_score_error_by_sigma_squared(mean):
    objective = Objective(reduce_mean=mean)
    spy, loss, x0 = observe(SMLD(), Score(scale=-1.0, offset=999.0), objective)
    sigma = np.geomspace(50.0, 0.01, 1000)[int(spy.label)]
    target = -(spy.x - x0) / sigma**2
    want = reduced((spy.answer - target) ** 2, mean) * sigma**2
    np.testing.assert_allclose(loss, want, rtol=2e-4)


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("weighting", ["noise", "likelihood"])
def test_vp_losses_of_song_et_al(weighting, mean):
    objective = Objective(weighting=weighting, reduce_mean=mean)
    spy, loss, x0 = observe(VP(), Noise(scale=999.0), objective)
    t = spy.label / 999.0
    log_alpha = -0.25 * t**2 * 19.9 - 0.05 * t
    alpha, std = np.exp(log_alpha), np.sqrt(1 - np.exp(2 * log_alpha))
    noise = (spy.x - alpha * x0) / std
    score = -spy.answer / std
    want = reduced((score * std + noise) ** 2, mean)
    if weighting == "likelihood":
        g2 = 0.1 + 19.9 * t
        want = reduced((score + noise / std) ** 2, mean) * g2
    np.testing.assert_allclose(loss, want, rtol=1e-4)


def test_ve_likelihood_weighting_is_g_squared():
    objective = Objective(weighting="likelihood", reduce_mean=False)
    spy, loss, x0 = observe(VE(), Score(label="std"), objective)
    std = spy.label
    g2 = std**2 * 2 * np.log(50.0 / 0.01)
    want = 0.5 * np.sum((spy.answer + (spy.x - x0) / std**2) ** 2) * g2
    np.testing.assert_allclose(loss, want, rtol=2e-4)


def test_edm_weighting_is_that_of_karras_et_al_on_the_denoised_image():
    objective = Objective(weighting="edm", time_law="log_normal")
    spy, loss, x0 = observe(EDM(), Noise(label="std"), objective)
    sigma = spy.label
    denoised = spy.x - sigma * spy.answer
    weight = (sigma**2 + 0.5**2) / (sigma * 0.5) ** 2
    np.testing.assert_allclose(loss, weight * np.mean((denoised - x0) ** 2), rtol=1e-4)


def drawn(objective, sde, n=4000):
    keys = jax.random.split(jax.random.key(1), n)
    return np.asarray(jax.jit(jax.vmap(lambda k: objective.time(sde, k)))(keys))


def test_continuous_times_are_uniform_between_the_ends():
    sde = VP(start=0.25)
    found = drawn(Objective(), sde)
    assert stats.kstest(found, stats.uniform(0.25, 0.75).cdf).pvalue > 1e-3


def test_discrete_times_are_all_steps_and_no_others():
    found = drawn(Objective(), DDPM(steps=1000, beta_max=20.0))
    assert np.array_equal(found, np.round(found))
    assert found.min() >= 0
    assert found.max() <= 999
    few = drawn(Objective(), SMLD(steps=4))
    counts = np.unique(few, return_counts=True)[1]
    assert len(counts) == 4
    assert stats.chisquare(counts).pvalue > 1e-3


def test_log_normal_times_have_edms_noise_levels():
    found = np.log(drawn(Objective(time_law="log_normal"), EDM(sigma_min=1e-4)))
    assert stats.kstest(found, stats.norm(-1.2, 1.2).cdf).pvalue > 1e-3


def test_a_share_of_the_times_is_by_the_process_s_own_clock():
    # EDM's law never comes to DDPM's last steps, where the own clock is as often as
    # anywhere.
    alone, mixed = (
        drawn(Objective(time_law="log_normal", own_law=share), DDPM())
        for share in (0.0, 0.25)
    )
    late = 700
    assert np.mean(alone > late) < 0.01
    share = np.mean(mixed > late)
    assert abs(share - 0.25 * 0.3) < 4 * np.sqrt(share / len(mixed))
    with pytest.raises(UserError, match="mixes a law with itself"):
        Objective(own_law=0.5)


def test_flip_mirrors_half_of_the_draws_left_to_right():
    sde = VE(sigma_min=1e-6, sigma_max=2e-6)
    x0 = 2.0 * IMAGE - 1.0
    mirrored = 0
    for seed in range(40):
        x = observe(sde, Noise(), Objective(flip=True), seed)[0].x
        as_is = np.allclose(x, x0, atol=1e-4)
        assert as_is or np.allclose(x, x0[:, ::-1], atol=1e-4)
        mirrored += not as_is
    assert 8 <= mirrored <= 32
    assert np.allclose(observe(sde, Noise(), Objective(), 5)[0].x, x0, atol=1e-4)


def test_draws_average_independent_times_and_noises():
    def apply(params, x, *_, **__):
        return 0.3 * x + 0.1

    target = Target(None, VP(), Noise(), apply, Affine())
    key, image = jax.random.key(7), jnp.asarray(IMAGE)
    singles = [float(Objective()(target, image, k)) for k in jax.random.split(key, 3)]
    together = Objective(draws=3)(target, image, key)
    assert len(set(singles)) == 3
    np.testing.assert_allclose(float(together), np.mean(singles), rtol=1e-5)


def test_dropout_is_on_and_anew_for_each_key():
    keys = [observe(VP(), Noise(), Objective(), s)[0].dropout_key for s in (1, 2)]
    first, second = (np.asarray(jax.random.key_data(k)) for k in keys)
    assert not np.array_equal(first, second)


def test_unknown_weighting_is_told_with_the_known_ones():
    with pytest.raises(UserError, match=r"weighting='likelyhood'.*did you mean"):
        Objective(weighting="likelyhood")
