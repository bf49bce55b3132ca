"""What every codec must do: one has parameters and another shape. And guidance."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Likelihood
from score_mia.check import UserError
from score_mia.checkpoint import target_digest
from score_mia.codecs import Affine, Bound, Codec, Folded, LearnedCodec, Pooled
from score_mia.device import size
from score_mia.likelihood import EXACT, log_prob
from score_mia.networks.latent.vae import AutoencoderKL
from score_mia.sampling import Ddim, Heun, vary
from score_mia.sde import VP
from score_mia.spec import CODECS
from score_mia.target import Guidance
from score_mia.train.loss import Objective
from tests.beams.parts.codec import patches
from tests.helpers import generate
from tests.oracles import gaussian_target

IMAGE = (4, 4, 1)
LATENT = (2, 2, 4)
IMAGES = jax.random.uniform(jax.random.key(5), (3, *IMAGE))


MADE = {
    "affine": Affine(-2.0, 3.0),
    "folded": Folded(-2.0, 3.0),
    "patches": patches(),
}


def latent_target(codec=None):
    """Data of covariance 0.1 about a mean image, in the codec's space."""
    codec = codec or patches()
    mean = np.asarray(codec.encode(jnp.full(IMAGE, 0.6)))
    return gaussian_target(VP(start=1e-3), mean, 0.1 * np.eye(16), codec=codec)


LOSSY = {"pooled": Pooled(-2.0, 3.0)}
LEARNED = {"kl": AutoencoderKL(1, 3, (4, 8), 1, groups=2, scale=0.5, shift=0.1)}


def test_every_registered_one_is_tried():
    assert {*MADE, *LOSSY, *LEARNED} >= CODECS.keys()


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_one_is_a_codec_with_its_parameters(name):
    """Bound, it has the latent's shape, an image for it, and no density on pixels."""
    kind = LEARNED[name]
    assert isinstance(kind, LearnedCodec)
    codec = Bound(kind, kind.init(jax.random.key(0)))
    assert isinstance(codec, Codec)
    assert codec.log_scale is None
    x = jax.jit(jax.vmap(codec.encode))(IMAGES)
    assert x.shape[1:] == codec.shape(IMAGE)
    assert jax.vmap(codec.decode)(x).shape == IMAGES.shape
    np.testing.assert_allclose(codec.encode(IMAGES[1]), x[1], atol=1e-5)
    one, other = (codec.encode(IMAGES[0], jax.random.key(k)) for k in (1, 2))
    assert np.abs(np.asarray(one - other)).max() > 0.1
    with pytest.raises(UserError, match="resize"):
        codec.shape((5, 4, 1))


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_one_loses_nothing_twice(name):
    """What it keeps of an image it keeps for good, and claims no density on pixels."""
    codec = LOSSY[name]
    assert isinstance(codec, Codec)
    assert codec.log_scale is None
    x = jax.vmap(codec.encode)(IMAGES)
    assert x.shape[1:] == codec.shape(IMAGE)
    decoded = jax.vmap(codec.decode)(x)
    assert decoded.shape == IMAGES.shape
    assert np.abs(decoded - IMAGES).max() > 0.1
    np.testing.assert_allclose(jax.vmap(codec.encode)(decoded), x, atol=1e-5)
    with pytest.raises(UserError, match="does not divide images of 5x4"):
        codec.shape((5, 4, 1))


def test_pooled_images_are_means_of_squares_and_smooth_ones_come_back():
    codec = Pooled()
    x = codec.encode(IMAGES[0])
    np.testing.assert_allclose(
        x[1, 0], 2 * IMAGES[0][2:, :2].mean((0, 1)) - 1, atol=1e-6
    )
    ramp = jnp.linspace(0, 1, 16)[:, None, None] * jnp.ones((1, 16, 3))
    again = codec.decode(codec.encode(ramp))
    np.testing.assert_allclose(again[4:-4], ramp[4:-4], atol=1e-3)
    np.testing.assert_allclose(again, ramp, atol=0.05)


@pytest.mark.parametrize("name", MADE)
def test_decoding_undoes_encoding_one_image_at_a_time(name):
    codec = MADE[name]
    assert isinstance(codec, Codec)
    x = jax.vmap(codec.encode)(IMAGES)
    assert x.shape[1:] == codec.shape(IMAGE)
    np.testing.assert_allclose(jax.vmap(codec.decode)(x), IMAGES, atol=1e-6)
    np.testing.assert_allclose(codec.encode(IMAGES[1]), x[1], atol=1e-6)
    drawn = codec.encode(IMAGES[0], jax.random.key(0))
    np.testing.assert_allclose(drawn, x[0], atol=0.01)


def test_the_parameters_of_a_codec_are_parameters_of_the_model():
    one, other = latent_target(), latent_target(patches(seed=1))
    other = dataclasses.replace(other, params=one.params)
    assert target_digest(one) != target_digest(other)
    assert target_digest(one) == target_digest(latent_target(patches()))
    assert size(one.denoiser) == size(one.params) + 16
    leaves = jax.tree.leaves(one)
    assert any(leaf is one.codec.rotation for leaf in leaves)


def test_the_digest_of_an_affine_target_is_that_of_version_0_2():
    assert repr(Affine()) == "Codec(low=-1.0, high=1.0)"
    with pytest.raises(UserError, match="low < high"):
        Affine(1.0, 1.0)


def test_folding_keeps_the_density_of_pixels():
    """The network's space is another order of the same numbers."""
    x = np.asarray(Folded().encode(IMAGES[0]))
    np.testing.assert_allclose(
        np.sort(x.ravel()), np.sort(np.asarray(Affine().encode(IMAGES[0])).ravel())
    )
    np.testing.assert_array_equal(x[0, 1], Affine().encode(IMAGES[0])[:2, 2:].ravel())
    assert Folded().log_scale == Affine().log_scale
    with pytest.raises(UserError, match="does not divide images of 5x4"):
        Folded().shape((5, 4, 1))


def test_sampling_and_training_see_images_through_the_codec():
    target = latent_target()
    drawn = generate(target.denoiser, 0, 200, IMAGE, Heun(), clip=False)
    assert drawn.shape == (200, *IMAGE)
    np.testing.assert_allclose(drawn.mean(), 0.6, atol=0.02)
    np.testing.assert_allclose(drawn.var(axis=0).mean(), 0.1 / 4, rtol=0.15)
    times = Ddim(steps=5).times(target.sde)[-2:]
    image, _ = vary(target.denoiser, IMAGES[0], times, jax.random.key(0), Ddim())
    assert image.shape == IMAGE
    assert np.isfinite(Objective()(target, IMAGES[0], jax.random.key(1)))


def test_a_latent_likelihood_is_the_density_on_the_latent_space():
    """Rotations keep volume: on pixels it gains log 2 for each of 16 numbers."""
    image, key = IMAGES[0], jax.random.key(0)
    latent = log_prob(latent_target().denoiser, image, key, divergence=EXACT)
    on_pixels = latent_target(patches(log_scale=float(np.log(2.0))))
    pixels = log_prob(on_pixels.denoiser, image, key, divergence=EXACT)
    named = [Likelihood().columns(m) for m in (latent_target(), on_pixels)]
    assert [c.names for c in named] == [("latent_log_prob",), ("log_prob",)]
    assert [c.title for c in named] == ["Latent likelihood", "Likelihood"]
    difference = float(pixels.log_prob - latent.log_prob)
    np.testing.assert_allclose(difference, 16 * np.log(2.0), rtol=1e-3)
    x = np.asarray(patches().encode(image), np.float64).ravel()
    away = x - np.asarray(patches().encode(jnp.full(IMAGE, 0.6))).ravel()
    exact = -0.5 * (away @ away) / 0.1 - 8 * np.log(2 * np.pi * 0.1)
    np.testing.assert_allclose(float(latent.log_prob), exact, atol=0.3)


# --- conditions at the network's door -------------------------------------------------


def told(calls):
    """A target that says of noise what its embedded condition says, counting embeds."""
    target = latent_target()

    def embed(params, condition):
        calls.append(condition.shape)
        return 0.5 * condition.astype(jnp.float32)

    def apply(params, x, label, condition):
        return x * 0.0 + condition[:, None, None, None]

    return dataclasses.replace(target, apply=apply, embed=embed).denoiser


def test_a_condition_is_embedded_once_for_all_times():
    calls = []
    model, x = told(calls), jnp.zeros(LATENT)
    once = model.embed(jnp.int32(3))
    values = [model.eps(x, t, once) for t in (0.1, 0.5)]
    assert calls == [(1,)]
    np.testing.assert_array_equal(values[0], model.eps(x, 0.1, jnp.int32(3)))
    np.testing.assert_array_equal(values[0], np.full(LATENT, 1.5))


@pytest.mark.parametrize("weight", [0.0, 1.0, 4.0])
def test_guidance_leads_away_from_the_null_condition(weight):
    model, x = told([]), jnp.zeros(LATENT)
    guidance = Guidance(jnp.int32(1), weight)
    expected = np.full(LATENT, 0.5 + weight * (1.5 - 0.5))
    for eps in (
        model.eps(x, 0.3, jnp.int32(3), guidance),
        model.guided(guidance).eps(x, 0.3, jnp.int32(3)),
        -model.guided(guidance).score(x, 0.3, jnp.int32(3)) * model.sde.std(0.3),
    ):
        np.testing.assert_allclose(eps, expected, rtol=1e-6)
