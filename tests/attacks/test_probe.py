"""Noise as a probe: the way up with the base, the way down with the target."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.attacks import HostQuery, Probe
from score_mia.attacks.protocol import fingerprint
from score_mia.check import UserError
from score_mia.checkpoint import load_target, save_target
from score_mia.sampling import Ddim
from score_mia.sampling.served import Service
from score_mia.sde import DDPM
from tests.beams.service import Memory
from tests.oracles import scales
from tests.train.toys import AFFINE

ALLOW = ("tests.train.toys:Affine",)
SDE = DDPM(beta_max=0.9, steps=10)
IMAGES = np.random.default_rng(1).random((3, 1, 2, 1)).astype(np.float32)
QUERIES = HostQuery(IMAGES, None, np.arange(3), 7 + np.arange(3))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A workdir whose target is the exact one of data N(0, I): eps = std x."""
    folder = tmp_path_factory.mktemp("base")
    std = np.asarray([scales(SDE, t)[1] for t in range(10)], np.float32)
    params = {
        "matrix": std[:, None, None] * np.eye(2, dtype=np.float32),
        "offset": np.zeros((10, 2), np.float32),
    }
    save_target(folder / "target", AFFINE, params, params, {"step": 1})
    return str(folder)


def test_of_a_standard_normal(base):
    """Up by alpha_0 + std_0^2, then by cosines; down by cosines alone."""
    signal = Probe(base, steps=10, allow=ALLOW)
    target = load_target(f"{base}/target", allow=ALLOW)
    service = Service(Ddim(steps=None), None, (1, 2, 1)).of(target.denoiser)
    made = signal.needs[0].batch(None, QUERIES)
    angles = [np.arctan2(*scales(SDE, t)[::-1]) for t in range(10)]
    alpha, std = scales(SDE, 0)
    up = (alpha + std**2) * np.prod(np.cos(np.diff(angles)))
    x = 10 * IMAGES.astype(np.float64) - 5
    noise = up * x / scales(SDE, 9)[1]
    np.testing.assert_allclose(made["noise"], noise, rtol=1e-4, atol=1e-5)
    back = up * np.prod(np.cos(np.diff([0.0, *angles])))
    exact = -np.sqrt(np.mean(((1 - back) * x / 10) ** 2, axis=(1, 2, 3)))
    values, asked = signal.batch(service, QUERIES, (made,))
    np.testing.assert_allclose(values[:, 0], exact, rtol=1e-3)
    np.testing.assert_array_equal(asked, 1.0)


def test_what_the_base_has_learned_is_part_of_what_decides(base):
    (product,) = Probe(base, allow=ALLOW).needs
    first = fingerprint(product)
    other = {"matrix": np.zeros((10, 2, 2), np.float32)}
    other["offset"] = np.zeros((10, 2), np.float32)
    save_target(f"{base}/other/target", AFFINE, other, other, {"step": 1})
    assert fingerprint(Probe(f"{base}/other").needs[0]) != first
    with pytest.raises(UserError, match="does not exist"):
        fingerprint(Probe(f"{base}/none").needs[0])


def test_who_takes_no_noise_is_refused_in_one_line():
    made = ({"noise": np.zeros((3, 1, 2, 1))},)
    with pytest.raises(UserError, match="Memory: draws from no noise but its own"):
        Probe("base").batch(Memory({}, (1, 2, 1)), QUERIES, made)


def test_a_base_of_another_shape_is_refused(base):
    target = load_target(f"{base}/target", allow=ALLOW)
    service = Service(Ddim(), None, (1, 2, 1)).of(target.denoiser)
    made = ({"noise": np.zeros((3, 2, 2, 1))},)
    with pytest.raises(UserError, match="draws from noise of shape"):
        Probe(base).batch(service, QUERIES, made)


def test_too_few_steps_are_refused():
    with pytest.raises(UserError, match="below 2"):
        Probe("base", steps=1)
