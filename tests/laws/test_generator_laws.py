"""What every generator of the house must do."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.conditions import Label
from score_mia.sampling import SAMPLERS, Watched, times_from, vary
from score_mia.sde import DDPM, VP
from score_mia.target import Generator, Observed, Steered, Varying
from tests.oracles import gaussian_target, random_gaussian

SHAPE = (2, 2, 1)
MEAN, COVARIANCE = random_gaussian(SHAPE, seed=3)
SEEDS = np.asarray([3, 2**40 + 3, 7, 8, 9])
LABELS = [0, 1, 2, 1, 0]
IMAGES = np.random.default_rng(0).random((5, *SHAPE), np.float32)
HOW = {"strength": 0.5, "steps": 4}


def shifted(sde):
    """A model whose samples lie about its mean moved by the class."""
    target = gaussian_target(sde, MEAN, 1e-4 * np.eye(4))
    exact = target.apply

    def apply(params, x, label, condition):
        moved = jax.vmap(sde.alpha)(label) * 0.1 * condition.astype(np.float32)
        return exact(params, x - moved[:, None, None, None], label)

    return dataclasses.replace(target, apply=apply).denoiser


def plain(name):
    """One that is told nothing, by a registered sampler."""
    model = gaussian_target(VP(), MEAN, COVARIANCE).denoiser
    return Watched(model, SAMPLERS[name](steps=6), None, SHAPE, 1)


MADE = {
    **{name: (plain(name), None) for name in ("ddim", "ancestral", "heun")},
    "classes": (
        Watched(shifted(DDPM()), SAMPLERS["ddim"](), Label(3), SHAPE, 1),
        LABELS,
    ),
}


@pytest.fixture(params=MADE)
def made(request):
    return MADE[request.param]


def calls(generator, prompts, images, seeds):
    """Every way of asking, by name."""
    return {
        "draw": generator.draw(prompts, seeds),
        "vary": generator.vary(images, prompts, seeds, **HOW),
        "trace": generator.trace(images, prompts, seeds, **HOW),
    }


def test_it_gives_images_and_nothing_else(made):
    generator, _ = made
    for kind in (Generator, Varying, Observed, Steered):
        assert isinstance(generator, kind)
    public = {name for name in dir(generator) if not name.startswith("_")}
    assert public == {"shape", "noise_shape", "draw", "vary", "trace"}


def test_the_noise_of_a_seed_given_is_the_image_of_that_seed(made):
    """And other noise is another image; the sampler's own draws stay the seed's."""
    generator, prompts = made
    halves = (SEEDS >> 32).astype(np.uint32), SEEDS.astype(np.uint32)
    fold = jax.random.fold_in
    keys = [fold(fold(jax.random.key(0), h), k) for h, k in zip(*halves, strict=True)]
    firsts = [jax.random.split(key)[0] for key in keys]
    noise = np.stack([jax.random.normal(k, generator.noise_shape) for k in firsts])
    drawn = generator.draw(prompts, SEEDS)
    np.testing.assert_allclose(
        generator.draw(prompts, SEEDS, noise=noise), drawn, atol=1e-5
    )
    other = generator.draw(prompts, SEEDS, noise=noise[::-1])
    np.testing.assert_allclose(other[2], drawn[2], atol=1e-5)
    assert np.abs(other[0] - drawn[0]).max() > 1e-4
    with pytest.raises(UserError, match="is not"):
        generator.draw(prompts, SEEDS, noise=noise[:, :1])


def test_what_it_predicts_on_the_way_ends_at_the_image(made):
    """The clean images before each step; the last of them is what the last gives."""
    generator, prompts = made
    seen = generator.trace(IMAGES, prompts, SEEDS, **HOW)
    clean = generator.trace(IMAGES, prompts, SEEDS, **HOW, denoised=True)
    assert clean.shape == seen.shape
    np.testing.assert_allclose(clean[:, -1], seen[:, -1], atol=2e-2)
    assert np.abs(clean[:, 0] - seen[:, 0]).max() > 1e-3


def test_an_image_depends_on_prompt_and_seed_alone(made):
    generator, prompts = made
    whole = calls(generator, prompts, IMAGES, SEEDS)
    order = np.asarray([4, 1, 0])
    some = None if prompts is None else [prompts[i] for i in order]
    part = calls(generator, some, IMAGES[order], SEEDS[order])
    for name, images in whole.items():
        np.testing.assert_allclose(part[name], images[order], atol=1e-6)
        assert images.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1
    assert np.abs(whole["draw"][0] - whole["draw"][1]).max() > 1e-3  # all 64 bits count
    np.testing.assert_array_equal(whole["vary"], whole["trace"][:, -1])
    assert whole["trace"].shape == (5, HOW["steps"], *SHAPE)


def test_a_class_is_its_own_rows():
    generator, prompts = MADE["classes"]
    drawn = generator.draw(prompts, SEEDS)
    expected = (MEAN[None] + 0.1 * np.asarray(prompts)[:, None, None, None] + 1) / 2
    np.testing.assert_allclose(drawn, np.clip(expected, 0, 1), atol=0.03)
    with pytest.raises(UserError, match="run from 0 to 3"):
        generator.draw([0, 3], SEEDS[:2])
    with pytest.raises(UserError, match="prompts"):
        generator.draw(None, SEEDS)
    with pytest.raises(UserError, match="mean nothing"):
        MADE["ddim"][0].draw(LABELS, SEEDS)


def test_what_is_served_is_the_traced_front_doors_image():
    model, sampler = (
        gaussian_target(VP(), MEAN, COVARIANCE).denoiser,
        SAMPLERS["ddim"](),
    )
    times = times_from(sampler, model.sde, **HOW)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), 7)
    image, _ = jax.jit(lambda x: vary(model, x, times, key, sampler))(IMAGES[2])
    served = Watched(model, sampler, None, SHAPE).vary(
        IMAGES[2:3], None, SEEDS[2:3], **HOW
    )
    np.testing.assert_allclose(served[0], np.clip(image, 0, 1), atol=1e-5)
