"""The peak against closed forms, on the levels that all processes share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Peak
from score_mia.attacks.peak import COPIES, SIZES
from score_mia.check import UserError
from score_mia.codecs import Affine
from score_mia.sde import DDPM, EDM, VE, VP, RectifiedFlow
from tests.helpers import ask
from tests.oracles import (
    gaussian_target,
    memorising_target,
    scales,
    standard_target,
)

IMAGE = jnp.asarray(np.random.default_rng(2).random((4, 3, 2), np.float32))
KEY = jax.random.key(3)
TIMES = (0.1, 0.4)


def read(signal, target, image=IMAGE):
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, target, image, KEY))


def by_hand(image):
    """Copies of an image [h, w, c], by the words in which they are described."""
    first, last = image[:, :1], image[:, -1:]
    top, bottom = image[:1], image[-1:]
    return {
        "flip": image[:, ::-1],
        "left": np.concatenate([image[:, 1:], last], 1),
        "right": np.concatenate([first, image[:, :-1]], 1),
        "up": np.concatenate([image[1:], bottom]),
        "down": np.concatenate([top, image[:-1]]),
    }


def test_copies_are_what_they_are_called():
    for name, expected in by_hand(np.asarray(IMAGE)).items():
        np.testing.assert_array_equal(COPIES[name](IMAGE), expected)


def test_of_a_standard_normal():
    """eps = c x: what is left are the sizes of the images themselves."""
    target, x = standard_target(VP(), IMAGE)
    sizes = [np.log(np.sum(copy**4)) for copy in by_hand(x).values()]
    own = np.log(np.sum(x**4))
    found = read(Peak(times=TIMES, order=4.0), target)
    np.testing.assert_allclose(found[:2], np.mean(sizes) - own, atol=1e-5)
    assert found[2] == 2 * (1 + 5)


def test_kept_apart():
    sde, signal = VP(), Peak(times=TIMES, copies=("flip", "up"), apart=True)
    target, x = standard_target(sde, IMAGE)
    up = np.log(np.sum(by_hand(x)["up"] ** 2) / np.sum(x**2))
    own = []
    for t in TIMES:
        alpha, std = scales(sde, t)
        own.append(-np.log(np.sum((alpha * std * x) ** 2)))
    found = read(signal, target)
    names = signal.columns(target.denoiser).names
    assert names[::2] == ("own@0.1000", "flip@0.1000", "up@0.1000")
    np.testing.assert_allclose(found[:2], own, rtol=1e-4)
    np.testing.assert_allclose(found[2:6], [0, 0, up, up], atol=1e-5)
    assert found[6] == 2 * (1 + 2)


def test_further_sizes_of_the_same_noise():
    """eps = c x: each is a size of the image, and the bands add up to the squares."""
    image = jnp.asarray(np.random.default_rng(4).random((8, 12, 2), np.float32))
    names = ("whole", *SIZES)
    signal = Peak(times=(0.1,), copies=("up",), apart=True, sizes=names)
    sde = VP()
    target, x = standard_target(sde, image)
    found = read(signal, target, image)
    alpha, std = scales(sde, 0.1)
    seen, inner = alpha * std * np.asarray(x, float), np.zeros(x.shape, bool)
    inner[2:6, 3:9] = True
    blocks = {
        k: np.kron(
            seen.reshape(8 // k, k, 12 // k, k, 2).mean((1, 3)), np.ones((k, k, 1))
        )
        for k in (2, 4)
    }
    expected = {
        "whole": np.sum(seen**2),
        "absolute": np.sum(np.abs(seen)),
        "fourth": np.sum(seen**4),
        "coarse": np.sum(blocks[4] ** 2),
        "middle": np.sum((blocks[2] - blocks[4]) ** 2),
        "fine": np.sum((seen - blocks[2]) ** 2),
        "inner": np.sum(seen[inner] ** 2),
        "rim": np.sum(seen[~inner] ** 2),
    }
    bands = sum(expected[n] for n in ("coarse", "middle", "fine"))
    np.testing.assert_allclose(bands, expected["whole"])
    columns = signal.columns(target.denoiser).names
    assert columns[:4] == ("own@0.1000", "up@0.1000", "own-absolute@0.1000", columns[3])
    values = dict(zip(columns, found[:-1], strict=True))
    for name, size in expected.items():
        column = "own" if name == "whole" else f"own-{name}"
        np.testing.assert_allclose(
            values[f"{column}@0.1000"], -np.log(size), rtol=1e-4, atol=1e-4
        )
    assert found[-1] == 2  # nothing more is evaluated


def test_the_mean_over_copies_of_each_size():
    target, _ = standard_target(VP(), IMAGE)
    sizes = ("whole", "fine")
    apart = read(Peak(times=TIMES, apart=True, sizes=sizes), target)[:-1]
    apart = apart.reshape(2, 6, len(TIMES))[:, 1:].mean(axis=1)
    mean = read(Peak(times=TIMES, sizes=sizes), target)[:-1]
    np.testing.assert_allclose(mean, apart.ravel(), atol=1e-5)


def test_how_far_a_member_stands_out():
    """A memory sees of an image how far away the nearest of its own is."""
    sde, width, t = VP(), 0.05, 0.02
    rng = np.random.default_rng(0)
    images = rng.random((3, 4, 4, 1)).astype(np.float32)
    target = memorising_target(sde, images, width=width)
    image = images[0] + 0.01 * rng.standard_normal((4, 4, 1)).astype(np.float32)
    far = [
        min(np.linalg.norm(copy - other) for other in images)
        for copy in by_hand(image.astype(np.float64)).values()
    ]
    exact = np.mean(np.log(np.square(far))) - 2 * np.log(
        np.linalg.norm(image.astype(np.float64) - images[0])
    )
    found = read(Peak(times=(t,)), target, jnp.asarray(image))
    np.testing.assert_allclose(found[0], exact, rtol=1e-3)


@pytest.mark.parametrize("sde", [DDPM(), VP(), VE(), EDM(), RectifiedFlow()])
@pytest.mark.parametrize("codec", [Affine(), Affine(0.0, 1.0)])
def test_the_usual_levels_are_the_same_for_all_processes(sde, codec):
    """The noise is a seventh of half the range, and six tenths."""
    shape = (2, 2, 1)
    target = gaussian_target(sde, np.zeros(shape), np.eye(4), codec=codec)
    half = (codec.high - codec.low) / 2
    noise = [scales(sde, t)[1] / scales(sde, t)[0] for t in Peak().at(target.denoiser)]
    wanted = [half * np.exp(-level / 2) for level in Peak().log_snrs]
    np.testing.assert_allclose(noise, wanted, rtol=0.02)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"copies": ()}, "empty"),
        ({"copies": ("flip", "flip")}, "twice"),
        ({"copies": ("down", "blurred")}, "blurred"),
        ({"sizes": ()}, "empty"),
        ({"sizes": ("fine", "rim", "fine")}, "twice"),
        ({"sizes": ("whole", "blue")}, "blue"),
        ({"order": 0.5}, "below 1"),
        ({"times": ()}, "empty"),
        ({"log_snrs": ()}, "empty"),
        ({"log_snrs": (4.0, float("nan"))}, "finite"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Peak(**fields)
