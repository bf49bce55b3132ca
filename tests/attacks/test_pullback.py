"""The decoder's metric against closed forms, and the loss of what it takes."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks.draws import noise_at
from score_mia.attacks.frequency import Filter
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import identity
from score_mia.attacks.pullback import Pullback
from score_mia.check import UserError
from score_mia.codecs import Affine, Folded, Pooled
from score_mia.sde import DDPM
from tests.helpers import ask
from tests.oracles import gaussian_target

SHAPE = (2, 2, 1)
KEY = jax.random.key(3)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Linear:
    """decode(x) = A x + x^2 / 2 for flat x, so J = A + diag(x)."""

    matrix: jax.Array
    log_scale: None = dataclasses.field(default=None, metadata={"static": True})

    def shape(self, image_shape):
        return image_shape

    def encode(self, image, key=None):
        return 2 * image - 1

    def decode(self, x):
        flat = x.ravel()
        return (self.matrix @ flat + flat**2 / 2).reshape(x.shape)


X = np.asarray([0.5, -0.2, 0.1, 0.9], np.float32).reshape(SHAPE)


def test_signs_are_exact_where_dimensions_do_not_mix():
    codec = Linear(jnp.diag(jnp.asarray([1.0, -3.0, 0.0, 2.0])))
    exact = (np.asarray([1.0, -3.0, 0.0, 2.0]) + X.ravel()) ** 2
    found = Pullback(probes=1).metric(codec, jnp.asarray(X), KEY)
    np.testing.assert_allclose(found.ravel(), exact, rtol=1e-5)
    taken = Pullback(0.5, 1).taken(codec, jnp.asarray(X), KEY)
    assert taken.ravel().tolist() == [False, True, False, True]
    assert Pullback(0.01).taken(codec, jnp.asarray(X), KEY).sum() == 1


def test_the_estimate_comes_to_the_diagonal():
    """The variance of (J^T v)_i^2 is 2 (G_ii^2 - sum_j J_ji^4)."""
    matrix = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)
    jacobian = matrix + np.diag(X.ravel())
    exact = np.sum(jacobian**2, axis=0)
    spread = np.sqrt(2 * (exact**2 - np.sum(jacobian**4, axis=0)) / 4000)
    found = Pullback(probes=4000).metric(
        Linear(jnp.asarray(matrix)), jnp.asarray(X), KEY
    )
    assert (np.abs(found.ravel() - exact) < 4 * spread).all()


def test_the_loss_is_that_of_the_dimensions_taken():
    sde, codec = DDPM(), Linear(jnp.diag(jnp.asarray([1.0, -3.0, 0.0, 2.0])))
    target = gaussian_target(sde, np.zeros(SHAPE), np.eye(4), codec=codec)
    image, weighed = jnp.asarray((X + 1) / 2), Pullback(0.5, 2)
    signal = Loss((100, 300), pullback=weighed)
    found = ask(signal, target, image, KEY)
    taken = np.asarray([False, True, False, True]).reshape(SHAPE)
    for place, t in enumerate((100.0, 300.0)):
        noise = noise_at(KEY, 0, t, SHAPE)
        wrong = noise - target.denoiser.eps(sde.perturb(jnp.asarray(X), t, noise), t)
        exact = np.mean(np.asarray(wrong)[taken] ** 2)
        np.testing.assert_allclose(found[place], -exact, rtol=1e-5)
    assert found[2] == signal.columns(target.denoiser).evaluations == 2.0
    title = "Loss at one time, 50 % of the latent"
    assert signal.columns(target.denoiser).title == title
    whole = Loss((100,), pullback=Pullback(1.0, 1))
    np.testing.assert_allclose(
        ask(whole, target, image, KEY), ask(Loss((100,)), target, image, KEY), rtol=1e-6
    )
    both = Loss((100,), filter=Filter(0, 9), pullback=weighed)
    np.testing.assert_allclose(ask(both, target, image, KEY)[0], found[0], rtol=1e-4)


def test_its_fields_are_part_of_what_decides_the_loss():
    kinds = (None, Pullback(), Pullback(0.4), Pullback(probes=3))
    assert len({identity(Loss(9, pullback=kind)) for kind in kinds}) == 4


@pytest.mark.parametrize("codec", [Affine(), Folded()], ids=str)
def test_what_was_not_learned_is_refused(codec):
    target = gaussian_target(DDPM(), np.zeros(SHAPE), np.eye(4), codec=codec)
    with pytest.raises(UserError, match="no learned decoder") as caught:
        Loss(3, pullback=Pullback()).columns(target.denoiser)
    assert "\n" not in str(caught.value)
    Pullback().require_learned(Pooled())


@pytest.mark.parametrize("fields", [{"keep": 0.0}, {"keep": 1.2}, {"probes": 0}])
def test_wrong_settings_are_refused_when_made(fields):
    with pytest.raises(UserError, match=r"pullback\."):
        Pullback(**fields)
