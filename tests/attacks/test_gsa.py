"""Gradient norms: a closed form, both variants, and what they cost."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks import gsa
from score_mia.attacks.draws import noise_at
from score_mia.attacks.gsa import Gsa
from score_mia.attacks.loss import Loss
from score_mia.check import UserError
from score_mia.networks import DDPMNet
from score_mia.networks.network import unfolded
from score_mia.parameterisation import Noise
from score_mia.sde import DDPM, SMLD, VE, VP
from score_mia.target import Target
from tests.helpers import ask
from tests.oracles import memorising_target

SHAPE = (4, 4, 1)
KEY = jax.random.key(3)
IMAGE = jnp.asarray(np.random.default_rng(2).random(SHAPE, np.float32))


def linear(params, x, label, condition=None):
    """F(x) = gain x + bias, both [h, w, c]."""
    return params["layer"]["gain"][None] * x + params["layer"]["bias"][None]


def target(sde):
    gain, bias = np.random.default_rng(4).normal(size=(2, *SHAPE)).astype(np.float32)
    params = {"layer": {"gain": jnp.asarray(gain), "bias": jnp.asarray(bias)}}
    return Target(params, sde, Noise(), linear)


def read(signal, model):
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, model, IMAGE, KEY))


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("sde", [VP(), VE(sigma_max=5.0), DDPM(), SMLD()], ids=str)
def test_of_a_linear_network(sde, each):
    """d/dg mean (e - g x_t - b)^2 = -2/d (e - g x_t - b) x_t, and without x_t by b."""
    model, signal = target(sde), Gsa(5, each)
    abstract = jax.eval_shape(lambda: model)
    assert signal.columns(abstract).names == ("norm/layer/bias", "norm/layer/gain")
    layer = {n: np.asarray(a, np.float64) for n, a in model.params["layer"].items()}
    x = np.asarray(model.codec.encode(IMAGE), np.float64)
    gradients = []
    for t in Loss(5).at(sde).tolist():
        noise = np.asarray(noise_at(KEY, 0, t, SHAPE), np.float64)
        noisy = float(sde.alpha(t)) * x + float(sde.std(t)) * noise
        away = -2 / x.size * (noise - layer["gain"] * noisy - layer["bias"])
        gradients.append((away, away * noisy))
    gradients = np.asarray(gradients)  # [times, 2, h, w, c]

    def norms(a):
        return np.sqrt(np.sum(a**2, axis=(-3, -2, -1)))

    exact = norms(gradients).mean(0) if each else norms(gradients.mean(0))
    np.testing.assert_allclose(read(signal, model)[:2], -exact, rtol=2e-5)


def test_a_column_s_noises_are_those_of_the_loss():
    """At one time both variants are one gradient, of what `loss` reads there."""
    model = target(VP())
    one, other = (read(Gsa((0.3,), each), model) for each in (False, True))
    np.testing.assert_allclose(one, other, rtol=1e-6)

    def loss(params):
        changed = dataclasses.replace(model, params=params)
        return ask(Loss((0.3,)), changed, IMAGE, KEY)[0]

    slope = jax.grad(loss)(model.params)["layer"]
    norms = [float(jnp.linalg.norm(slope[n].ravel())) for n in ("bias", "gain")]
    np.testing.assert_allclose(-one[:2], norms, rtol=1e-5)


@pytest.mark.parametrize("each", [False, True])
def test_what_was_seen_has_little_left_to_teach(each):
    images = np.random.default_rng(0).random((24, *SHAPE), np.float32)
    model, signal = memorising_target(DDPM(), images[:8]), Gsa(4, each)

    def row(image):
        return ask(signal, model, image, KEY)[0]

    scores = jax.jit(jax.vmap(row))(jnp.asarray(images))
    assert roc_auc_score(np.arange(24) < 8, scores) == 1.0


def test_the_first_tensors_are_the_same_without_the_others():
    model = target(VP())
    few, whole = Gsa(3, share=0.5), Gsa(3)
    assert few.columns(model).names == ("norm/layer/bias",)
    np.testing.assert_allclose(read(few, model)[0], read(whole, model)[0], rtol=1e-6)
    assert Gsa(3, share=0.01).columns(model).names == ("norm/layer/bias",)


def test_gradients_are_those_of_the_network_as_it_is(monkeypatch):
    # On CPU they are taken of products of unfolded images, which are many times faster.
    spec = DDPMNet(features=4, multipliers=(1,), blocks=1, attention=(), groups=2)
    network, images = spec.build(SHAPE), jax.random.split(KEY, 3)
    model = Target(network.init(KEY), VP(), Noise(), network.apply)
    assert unfolded(network.apply).spec.convolution == "patches"

    def row(key):
        return ask(Gsa(2), model, jax.random.uniform(key, SHAPE), key)

    now = np.asarray(jax.jit(jax.vmap(row))(images))
    monkeypatch.setattr(gsa, "unfolded", lambda apply: apply)
    plain = np.asarray(jax.jit(jax.vmap(row))(images))
    np.testing.assert_allclose(now, plain, rtol=1e-4, atol=1e-5 * np.abs(plain).max())


def test_cost_and_memory_are_told_beforehand():
    """A loss with its gradient is three forward passes and one call of the network."""
    model = target(DDPM())
    for each, held in ((False, 2), (True, 1)):
        columns = Gsa(10, each).columns(model)
        assert columns.evaluations == 30.0
        assert columns.bytes_per_row == held * 4 * 2 * IMAGE.size
        assert columns.title == f"Gradient norms (GSA{2 if each else 1})"
        assert read(Gsa(10, each), model)[-1] == 10.0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"share": 0.0}, "share=0.0: is not positive"),
        ({"share": 1.5}, "is outside"),
        ({"times": ()}, "is empty"),
    ],
)
def test_wrong_settings_are_refused_when_made(fields, said):
    with pytest.raises(UserError, match=said):
        Gsa(**fields)
