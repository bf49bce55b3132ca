"""Losses with both gradients: a closed form, and what they share with others."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks.draws import noise_at
from score_mia.attacks.gsa import Gsa
from score_mia.attacks.loss import Loss
from score_mia.attacks.roots import Roots
from score_mia.check import UserError
from score_mia.sde import DDPM, SMLD, VE, VP
from tests.attacks.test_gsa import IMAGE, KEY, SHAPE, read, target
from tests.helpers import ask
from tests.oracles import memorising_target


@pytest.mark.parametrize("sde", [VP(), VE(sigma_max=5.0), DDPM(), SMLD()], ids=str)
def test_of_a_linear_network(sde):
    """With r = e - g x_t - b: mean r^2, -2/d alpha g r by x, -2/d r (x_t, 1)."""
    model, x_size = target(sde), IMAGE.size
    gain, bias = (
        np.asarray(model.params["layer"][n], np.float64) for n in ("gain", "bias")
    )
    x = np.asarray(model.codec.encode(IMAGE), np.float64)
    exact = []
    for t in Loss(4).at(sde).tolist():
        alpha, std = float(sde.alpha(t)), float(sde.std(t))
        noise = np.asarray(noise_at(KEY, 0, t, SHAPE), np.float64)
        noisy = alpha * x + std * noise
        away = noise - gain * noisy - bias
        by_image = 2 / x_size * alpha * gain * away
        by_weights = 2 / x_size * np.stack([away, away * noisy])
        norms = [np.sqrt(np.sum(a**2)) for a in (by_image, by_weights)]
        exact.append([np.mean(away**2), *norms])
    found = read(Roots(4), model)
    np.testing.assert_allclose(found[:12].reshape(3, 4), -np.asarray(exact).T, 2e-5)


def test_its_losses_are_those_of_the_loss_and_its_norms_those_of_gsa():
    model = target(VP())
    found = read(Roots((0.1, 0.7)), model)
    np.testing.assert_allclose(found[:2], read(Loss((0.1, 0.7)), model)[:2], rtol=1e-6)
    norms = read(Gsa((0.7,)), model)[:2]
    np.testing.assert_allclose(found[5], -np.sqrt(np.sum(norms**2)), rtol=1e-6)


def test_columns_cost_and_memory():
    columns = Roots(2).columns(target(DDPM()))
    kinds = ("loss", "by_image", "by_weights")
    assert columns.names == tuple(f"{k}@{t}" for k in kinds for t in (0, 999))
    assert columns.times.tolist() == [0, 999] * 3
    assert columns.evaluations == 6.0
    assert columns.bytes_per_row == 4 * 2 * IMAGE.size
    assert len(Roots(None).columns(target(DDPM())).names) == 3000
    assert read(Roots(2), target(DDPM()))[-1] == 2.0
    with pytest.raises(UserError, match="is empty"):
        Roots(())


def test_all_three_are_smaller_for_what_was_seen():
    images = np.random.default_rng(0).random((24, *SHAPE), np.float32)
    model = memorising_target(DDPM(), images[:8], width=0.05)

    def row(image):
        return ask(Roots((100, 200)), model, image, KEY)[:6]

    scores = np.asarray(jax.jit(jax.vmap(row))(jnp.asarray(images)))
    for column in scores.T[::2]:
        assert roc_auc_score(np.arange(24) < 8, column) == 1.0
