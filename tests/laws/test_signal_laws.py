"""What every signal in the table must do, on oracles whose membership is certain."""

from __future__ import annotations

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks import SIGNALS, Loss
from score_mia.attacks.protocol import (
    NETWORK_EVALUATIONS,
    Access,
    Query,
    Signal,
)
from score_mia.conditions import NULL, OWN
from score_mia.engine import Engine, Reader, collect, view
from score_mia.readings import Evidence
from score_mia.rules.best import Best
from score_mia.rules.mean import Mean
from score_mia.sde import DDPM, SMLD, VE, VP
from score_mia.target import Apply, Target
from tests.helpers import ask, kept_model, products_of, slow
from tests.oracles import memorising_target

SHAPE = (4, 4, 1)
N = 32
SDES = {"vp": VP(), "ve": VE(sigma_max=5.0), "ddpm": DDPM(), "smld": SMLD()}

CHEAP = {
    "loss": {"times": 6, "draws": 2},
    "likelihood": {"probes": 2, "evaluations": 12},
    "gsa": {"times": 4},
    "roots": {"times": 6},
    "calibrated": {"signal": Loss(times=6, draws=2)},
    "against": {"signal": Loss(times=6, draws=2)},
    "ranged": {"signal": Loss(times=6, draws=2), "count": 3},
    "refined": {"signal": Loss(draws=2), "keep": 6},
    "denoise": {
        "guidance": 0.0,
        "start": 50,
        "first": 50,
        "last": 0,
        "step": 25,
        "draws": 2,
    },
    "terms": {"times": 2},
    "terms.apart": {"times": 2, "kinds": ("path", "error"), "logs": True},
    "secmi": {"levels": (50,)},
    "secmi.pixels": {"levels": (50,), "pixels": SHAPE},
    "pia": {"times": 4},
    "sima": {"times": 4},
    "peak": {"copies": ("flip", "up")},
    "pfami": {"times": 2, "neighbours": 2},
    "dispersion": {"levels": (10, 50), "window": 2},
    "flow": {"places": (0.1, 0.25), "draws": 2},
    "clid": {"draws": 1},
}
"""Fields that keep a signal small here; one of another size is run as it is."""


WIDTH = {"secmi": 0.2, "secmi.pixels": 0.2}
"""Widths of the memories that a signal is tried on, else 0: around a point without any,
every line is straight, and every image comes back."""


TRACED = [name for name, part in SIGNALS.items() if not hasattr(part, "batch")]
TRACED += ["secmi.pixels", "terms.apart"]
"""Host signals: test_host_signal_laws.py. What a dot follows is a way to read one."""

RULE = {"secmi.pixels": Mean()}
"""Rules by which memory shows, where no one column need tell it all."""


class Images:
    """Members are the first N of 3 N images of noise."""

    digest = "noise"
    all = np.random.default_rng(0).random((3 * N, *SHAPE), np.float32)

    def images(self, ids):
        return self.all[ids]


IDS = np.arange(3 * N)
MEMBER = IDS < N


def made(name, sde=SDES["vp"]):
    """The signal; what is held against another model gets a kept one of the process."""
    other = {"folder": kept_model(sde)} if name == "against" else {}
    return SIGNALS[name.partition(".")[0]](**CHEAP.get(name, {}), **other)


TOLD = {"clid": {OWN: np.int32(1), NULL: np.int32(0)}}
"""What a signal's model is told of every image, if it must be told something."""


@dataclasses.dataclass(frozen=True)
class Obedient:
    """A network that remembers sharply for those who tell it 1, and else dimly."""

    network: Apply

    def __call__(self, params, x, label, condition):
        sharp = self.network(params, x, label)
        dim = self.network({**params, "width": jnp.float32(1.0)}, x, label)
        return jnp.where((condition == 1)[:, None, None, None], sharp, dim)


def remembering(name, sde, images):
    target = memorising_target(sde, images, width=WIDTH.get(name, 0.0))
    if name not in TOLD:
        return target
    return dataclasses.replace(target, apply=Obedient(target.apply))


def columns(name, target, folder, ids=IDS, shard=256):
    engine = Engine(tile=8, shard=shard, devices=1)

    def told(ids):
        each = TOLD.get(name, {}).items()
        return {which: np.repeat(value, len(ids)) for which, value in each}

    signal, images = made(name, target.sde), Images()
    reader = Reader(name, signal, target, images, 0, engine, conditions=told)
    rows = collect(reader, ids, folder)
    return dataclasses.replace(rows, member=np.isin(rows.ids, IDS[MEMBER]))


@pytest.mark.parametrize("name", TRACED)
def test_declares_itself(name):
    signal = made(name)
    assert isinstance(signal, Signal)
    assert dataclasses.is_dataclass(signal)
    assert hash(signal) == hash(made(name))
    assert signal.access in get_args(Access)
    for sde in SDES.values():
        signal, target = made(name, sde), memorising_target(sde, Images.all[:2])
        found = signal.columns(view(target, signal.access))
        assert NETWORK_EVALUATIONS in found.diagnostics
        assert len(set(found.names)) == len(found.names) > 0
        assert found.times is None or len(found.times) == len(found.names)
        assert found.title


@pytest.mark.parametrize("sde", ["ve", *map(slow, ("ddpm", "vp", "smld"))])
@pytest.mark.parametrize("name", TRACED)
def test_members_of_a_memorising_model_score_higher(name, sde, tmp_path):
    """AUC 1 with members positive, and so 0 with the classes swapped."""
    target = remembering(name, SDES[sde], Images.all[:N])
    signals = columns(name, target, tmp_path)
    assert signals.finite().all()
    half = np.isin(IDS % 2, 0)
    rule = RULE.get(name, Best())
    score = rule.fit(Evidence(signals.select(half)))(Evidence(signals.select(~half)))
    member = signals.select(~half).member
    assert roc_auc_score(member, score) == 1.0
    assert roc_auc_score(~member, score) == 0.0


@pytest.mark.parametrize("name", TRACED)
def test_says_nothing_where_there_is_nothing_to_say(name, tmp_path):
    """A model of other images: every column stays near chance."""
    others = np.random.default_rng(9).random((N, *SHAPE), np.float32)
    target = remembering(name, VP(), others)
    signals = columns(name, target, tmp_path)
    spread = np.sqrt(1 / (12 * N) + 1 / (24 * N))  # of a null AUC, N against 2 N
    for column in signals.matrix().T:
        auc = roc_auc_score(MEMBER, column)
        assert abs(auc - 0.5) < 4 * spread


@pytest.mark.parametrize("name", TRACED)
def test_reported_evaluations_are_those_made(name):
    """Counts the network's calls, forward or differentiated, in a run without jit."""
    sde = DDPM()
    signal, target = made(name, sde), remembering(name, sde, Images.all[:4])
    calls = []

    def counted(params, x, label, condition=None):
        jax.debug.callback(lambda _: calls.append(1), label[0])
        return target.apply(params, x, label, condition)

    watched = dataclasses.replace(target, apply=counted)
    told = TOLD.get(name, {})
    given = (told.get(OWN), told.get(NULL))
    row = ask(signal, watched, jnp.asarray(Images.all[0]), jax.random.key(0), *given)
    jax.effects_barrier()
    found = signal.columns(view(target, signal.access))
    place = len(found.names) + found.diagnostics.index(NETWORK_EVALUATIONS)
    assert len(calls) == float(row[place])


@pytest.mark.parametrize("name", TRACED)
def test_row_is_the_images_own(name, tmp_path):
    """Same image, id and seed: the same row in any order, cut and company (bitwise)."""
    target = remembering(name, VP(), Images.all[:N])
    whole = columns(name, target, tmp_path / "whole")
    some = np.random.default_rng(1).permutation(IDS)[:11]
    part = columns(name, target, tmp_path / "part", some, shard=4)
    np.testing.assert_array_equal(part.matrix(), whole.matrix()[np.sort(some)])


@pytest.mark.parametrize("name", TRACED)
def test_sees_the_view_that_its_access_names(name):
    """On a denoiser whose parameters cannot be looked at, a grey box works as ever."""
    sde = DDPM()
    signal, target = made(name, sde), remembering(name, sde, Images.all[:4])
    if signal.access == "gradients":
        assert view(target, "gradients") is target
        return
    model = view(target, signal.access)
    assert not isinstance(model, Target)
    with pytest.raises(AttributeError):
        _ = model.params
    image, key = jnp.asarray(Images.all[0]), jax.random.key(0)
    query = Query(image, TOLD.get(name, {}), key, jax.random.key(1))
    products = products_of(signal, image, key)
    assert np.isfinite(signal(model, query, products).values).all()
