"""What a signal may look at is what its access names: one law for each of them."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import SIGNALS
from score_mia.attacks.products import Drawn
from score_mia.attacks.protocol import Access, Attack, HostQuery, Query
from score_mia.check import UserError
from score_mia.conditions import NULL, OWN
from score_mia.encoders import Pixels
from score_mia.engine import Engine, Reader, collect, view
from score_mia.rules import Column
from score_mia.sde import DDPM
from score_mia.target import Denoiser, Target
from tests.beams.parts.blind import Blind
from tests.beams.parts.recon import Recon
from tests.beams.service import Reworker, save_still
from tests.helpers import kept_model, products_of
from tests.oracles import memorising_target

SHAPE = (4, 4, 1)
IMAGES = np.random.default_rng(0).random((24, *SHAPE), np.float32)
SERVICE = Reworker({str(i): IMAGES[i] for i in range(12)}, SHAPE)

KEPT = tempfile.TemporaryDirectory()
"""Of the base model, which `kept` saves."""

VIEWS = {
    "none": set(),
    "samples": {"shape", "noise_shape", "draw", "vary"},
    "observed": {"shape", "noise_shape", "draw", "vary", "trace"},
    "scores": {
        *("sde", "parameterisation", "codec", "embed", "guided", "under"),
        *("eps", "score", "denoised", "velocity"),
    },
    "gradients": {
        *("sde", "parameterisation", "codec", "embed", "apply", "params", "denoiser"),
        *("tree", "conditioner"),
    },
}
"""Access -> all that a signal may ask of its model."""

TRACED = {
    "loss": SIGNALS["loss"](times=3),
    "likelihood": SIGNALS["likelihood"](probes=1, evaluations=6),
    "secmi": SIGNALS["secmi"](step=20),
    "pia": SIGNALS["pia"](times=2),
    "sima": SIGNALS["sima"](draws=2),
    "pfami": SIGNALS["pfami"](times=2, neighbours=2),
    "peak": SIGNALS["peak"](copies=("flip", "up")),
    "terms": SIGNALS["terms"](),
    "dispersion": SIGNALS["dispersion"](),
    "flow": SIGNALS["flow"](),
    "clid": SIGNALS["clid"](draws=1),
    "gsa": SIGNALS["gsa"](times=3),
    "roots": SIGNALS["roots"](times=3),
    "denoise": SIGNALS["denoise"](guidance=0.0, step=100, draws=1),
    "calibrated": SIGNALS["calibrated"](SIGNALS["loss"](times=3)),
    "against": SIGNALS["against"](SIGNALS["loss"](times=3), kept_model(DDPM())),
    "ranged": SIGNALS["ranged"](SIGNALS["loss"](times=3), count=2),
    "refined": SIGNALS["refined"](SIGNALS["loss"](draws=2), times=4, keep=3),
}
HOST = {
    "recon": Recon(2),
    "blind": Blind(),
    "reconstruct": SIGNALS["reconstruct"](encoder=Pixels(2)),
    "observe": SIGNALS["observe"](steps=3),
    "rediffuse": SIGNALS["rediffuse"](n=2),
    "probe": SIGNALS["probe"](KEPT.name, steps=4),
    "covariates": SIGNALS["covariates"](),
}


@pytest.fixture(scope="module", autouse=True)
def kept():
    save_still(KEPT.name, SHAPE)


class Watched(Denoiser):
    """A denoiser that is looked at in no other way than as one, not even privately."""

    def __getattribute__(self, name):
        inside = sys._getframe(1).f_globals["__name__"] == Denoiser.__module__
        if not inside and not name.startswith("__"):
            assert name in VIEWS["scores"], f"{name} is no part of the view"
        return super().__getattribute__(name)


class Only:
    """A model of which nothing can be had but some attributes."""

    def __init__(self, model, names):
        self._model, self._names = model, names

    def __getattr__(self, name):
        assert name in self._names, f"{name} is no part of the view"
        return getattr(self._model, name)


def target():
    return memorising_target(DDPM(), IMAGES[:12])


def test_every_signal_of_the_house_is_tried():
    assert TRACED.keys() | HOST.keys() >= SIGNALS.keys()
    assert VIEWS.keys() == set(get_args(Access))


@pytest.mark.parametrize("access", ["scores", "gradients"])
def test_a_view_has_what_its_access_names(access):
    seen = view(target(), access)
    assert {n for n in dir(seen) if not n.startswith("_")} == VIEWS[access]
    assert isinstance(seen, Target) is (access == "gradients")


def test_a_service_gives_images_or_nothing():
    assert view(SERVICE, "samples") is SERVICE
    assert view(SERVICE, "none") is view(target(), "none") is None
    for access in ("scores", "gradients"):
        with pytest.raises(UserError, match="cannot be had of Reworker"):
            view(SERVICE, access)


@pytest.mark.parametrize("name", TRACED)
def test_a_traced_signal_looks_at_its_view_alone(name):
    signal, model = TRACED[name], target()
    seen = view(model, signal.access)
    watched = Watched(model) if signal.access == "scores" else seen
    key, told = jax.random.key(0), {OWN: jnp.int32(1), NULL: jnp.int32(0)}
    products = products_of(signal, jnp.asarray(IMAGES[3]), key)

    def reading(image):
        return signal(watched, Query(image, told, key, key), products).values

    columns = signal.columns(watched)
    assert columns.names == signal.columns(seen).names
    values = jax.eval_shape(reading, jnp.asarray(IMAGES[3]))  # looks at all it looks at
    assert values.shape == (len(columns.names),)


def queries(ids, seed=1):
    """Those rows as the engine would ask about them."""
    prompts, seeds = tuple(map(str, ids)), 1000 * seed + np.asarray(ids)
    return HostQuery(IMAGES[ids], prompts, np.asarray(ids), seeds)


@pytest.mark.parametrize("name", HOST)
def test_a_host_signal_looks_at_its_view_alone(name):
    signal = HOST[name]
    seen = view(SERVICE, signal.access)
    watched = None if seen is None else Only(seen, VIEWS[signal.access])
    columns = signal.columns(watched)
    asked = queries(np.arange(5))

    def shown(one):
        """What a product may see of the service."""
        own = view(SERVICE, one.access)
        return None if own is None else Only(own, VIEWS[one.access])

    made = tuple(one.batch(shown(one), asked) for one in signal.needs)
    values, diagnostics = signal.batch(watched, asked, made)
    assert values.shape == (5, len(columns.names))
    assert np.asarray(diagnostics).size == 5 * len(columns.diagnostics)


@dataclasses.dataclass(frozen=True)
class Source:
    """Images by id."""

    digest = "noise"

    def images(self, ids):
        return IMAGES[ids]


def rows(signal, folder, ids, **engine):
    how = Engine(**{"tile": 16, "shard": 16, "devices": 1, **engine})

    def prompts(ids):
        return tuple(map(str, ids))

    reader = Reader("x", signal, SERVICE, Source(), 3, how, prompts=prompts)
    return collect(reader, ids, folder)


@pytest.mark.parametrize("name", HOST)
def test_a_host_signal_s_row_is_the_images_own(name, tmp_path):
    """In batches of any size, in any order and company: the same row, bitwise."""
    ids = np.arange(len(IMAGES))
    whole = rows(HOST[name], tmp_path / "whole", ids)
    for tile, shard in ((1, 4), (5, 7)):
        folder = tmp_path / f"by-{tile}"
        cut = rows(HOST[name], folder, ids[::-1], tile=tile, shard=shard)
        np.testing.assert_array_equal(cut.matrix(), whole.matrix())
    some = np.asarray([17, 3, 11])
    few = rows(HOST[name], tmp_path / "few", some)
    np.testing.assert_array_equal(few.matrix(), whole.matrix()[np.sort(some)])


def test_an_attack_needs_what_the_most_curious_of_its_signals_needs():
    signals = {**HOST, "pia": TRACED["pia"], "gsa": TRACED["gsa"]}
    order = {"blind": "none", "recon": "samples", "pia": "scores", "gsa": "gradients"}
    for n in range(1, 5):
        chosen = {name: signals[name] for name in list(order)[:n]}
        attack = Attack("several", chosen, Column())
        assert attack.access == list(order.values())[n - 1]


@dataclasses.dataclass(frozen=True)
class Told(Blind):
    """A signal that looks at no model, but at what others made of one."""

    needs = (Drawn(1),)


def test_what_a_signal_needs_made_is_needed_by_the_attack():
    assert Attack("told", {"told": Told()}, Column()).access == "samples"
