"""Signals on a process from outside the package too: closed forms, certain members."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks import Gsa, Pia, Secmi
from score_mia.engine import Engine, Reader, collect
from score_mia.sde import DDPM, VE, VP
from tests.beams.parts.flow import Flow, Straight
from tests.helpers import ask
from tests.oracles import gaussian_target, memorising_target

SHAPE = (4, 4, 1)
KEY = jax.random.key(3)
IMAGE = jnp.asarray(np.random.default_rng(2).random(SHAPE, np.float32))


def standard(sde):
    """The exact target for data N(0, I), and the image in its space, float64 [d]."""
    target = gaussian_target(sde, np.zeros(SHAPE), np.eye(16))
    return target, np.asarray(target.codec.encode(IMAGE), np.float64).ravel()


def read(signal, target):
    return np.asarray(jax.jit(ask, static_argnums=0)(signal, target, IMAGE, KEY))


def scales(sde, t):
    """alpha and std, float64."""
    return float(sde.alpha(float(t))), float(sde.std(float(t)))


@pytest.mark.parametrize(
    ("sde", "signal"), [(VP(), Secmi((300,), 50)), (DDPM(), Secmi((200,), 20))]
)
def test_t_error_of_a_standard_normal(sde, signal):
    """With alpha = cos h, std = sin h a move turns x by the angle between."""
    target, x = standard(sde)
    angles = [np.arctan2(*scales(sde, t)[::-1]) for t in signal.way(sde)]
    stretch = np.prod(np.cos(np.diff(angles[:-1])))
    exact = stretch**2 * np.sin(angles[-1] - angles[-2]) ** 4 * (x @ x)
    found = read(signal, target)
    np.testing.assert_allclose(found[0], -exact, rtol=2e-4)
    assert found[1] == len(angles)


@pytest.mark.parametrize("norm", [2.0, 4.0])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize(
    ("sde", "time"), [(VP(), 0.3), (VE(sigma_max=5.0), 0.4), (Flow(), 0.5)]
)
def test_pia_of_a_standard_normal(sde, time, norm, normalised):
    """eps(x, t) = std x / (alpha^2 + std^2), whatever the process."""
    target, x = standard(sde)
    (a0, s0), (a, s) = scales(sde, sde.t0), scales(sde, time)
    first = s0 / (a0**2 + s0**2) * x
    if normalised:
        first *= np.sqrt(2 / np.pi) / np.mean(np.abs(first))
    apart = s / (a**2 + s**2) * (a * x + s * first) - first
    exact = np.sum(np.abs(apart) ** norm) ** (1 / norm)
    found = read(Pia((time,), norm, normalised), target)
    np.testing.assert_allclose(found, [-exact, 2.0], rtol=2e-5)


@dataclasses.dataclass(frozen=True)
class Noises:
    """Images of noise; the first `members` of them are remembered."""

    digest = "noises"
    members = 16
    all = np.random.default_rng(0).random((48, *SHAPE), np.float32)

    def images(self, ids):
        return self.all[ids]


MEMORISED = {
    "secmi": (Secmi(), DDPM(), None, 0.2),
    "pia": (Pia(), DDPM(), None, 0.0),
    "pian": (Pia(normalised=True), DDPM(), None, 0.0),
    "gsa": (Gsa(10), DDPM(), None, 0.0),
    "pia of a flow": (Pia((0.3,)), Flow(), Straight(scale=1000.0), 0.0),
    "secmi of a flow": (Secmi((200,), 20), Flow(), Straight(scale=1000.0), 0.2),
}
"""Name -> signal, process, meaning, width of the memory: one without any has straight
lines for a flow, on which every image comes back."""


@pytest.mark.parametrize("name", MEMORISED)
def test_members_of_a_memorising_model_score_higher(name, tmp_path):
    signal, sde, meaning, width = MEMORISED[name]
    images = Noises()
    known = images.all[: images.members]
    target = memorising_target(sde, known, meaning, width=width)
    made = Reader("x", signal, target, images, 0, Engine(tile=16, devices=1))
    rows = collect(made, np.arange(48), tmp_path)
    assert rows.finite().all()
    assert roc_auc_score(rows.ids < images.members, rows.matrix()[:, 0]) == 1.0
