"""What every signal in the table must do, on oracles whose membership is certain."""

from __future__ import annotations

import dataclasses
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks import SIGNALS
from score_mia.attacks.protocol import Access, Signal
from score_mia.engine import NETWORK_EVALUATIONS, Engine, collect
from score_mia.rules.best import Best
from score_mia.sde import DDPM, SMLD, VE, VP
from tests.oracles import memorising_target

SHAPE = (4, 4, 1)
N = 32
SDES = {"vp": VP(), "ve": VE(sigma_max=5.0), "ddpm": DDPM(), "smld": SMLD()}

CHEAP = {
    "loss": {"times": 6, "draws": 2},
    "likelihood": {"probes": 2, "evaluations": 12},
}
"""Fields that keep a signal small here; one of another size is run as it is."""


class Images:
    """Members are the first N of 3 N images of noise."""

    digest = "noise"
    all = np.random.default_rng(0).random((3 * N, *SHAPE), np.float32)

    def images(self, ids):
        return self.all[ids]


IDS = np.arange(3 * N)
MEMBER = IDS < N


def made(name):
    return SIGNALS[name](**CHEAP.get(name, {}))


def columns(name, target, folder, seed=0):
    return collect(
        made(name),
        target,
        Images(),
        IDS,
        MEMBER,
        seed,
        folder=folder,
        engine=Engine(tile=8, devices=1),
    )


@pytest.mark.parametrize("name", SIGNALS)
def test_declares_itself(name):
    signal = made(name)
    assert isinstance(signal, Signal)
    assert dataclasses.is_dataclass(signal)
    assert hash(signal) == hash(made(name))
    assert signal.access in get_args(Access)
    assert NETWORK_EVALUATIONS in signal.diagnostics
    for sde in SDES.values():
        names = signal.names(sde)
        assert len(set(names)) == len(names) > 0
        if hasattr(signal, "at"):
            assert len(signal.at(sde)) == len(names)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("name", SIGNALS)
def test_members_of_a_memorising_model_score_higher(name, sde, tmp_path):
    """AUC 1 with members positive, and so 0 with the classes swapped."""
    target = memorising_target(SDES[sde], Images.all[:N])
    signals = columns(name, target, tmp_path)
    assert np.isfinite(signals.values).all()
    half = np.isin(IDS % 2, 0)
    score = Best().fit(signals.select(half)).score(signals.select(~half))
    member = signals.select(~half).member
    assert roc_auc_score(member, score) == 1.0
    assert roc_auc_score(~member, score) == 0.0


@pytest.mark.parametrize("name", SIGNALS)
def test_says_nothing_where_there_is_nothing_to_say(name, tmp_path):
    """A model of other images: every column stays near chance."""
    others = np.random.default_rng(9).random((N, *SHAPE), np.float32)
    target = memorising_target(VP(), others)
    signals = columns(name, target, tmp_path)
    spread = np.sqrt(1 / (12 * N) + 1 / (24 * N))  # of a null AUC, N against 2 N
    for column in signals.values.T:
        auc = roc_auc_score(MEMBER, column)
        assert abs(auc - 0.5) < 4 * spread


@pytest.mark.parametrize("name", SIGNALS)
def test_reported_evaluations_are_those_made(name):
    """Counts the network's calls, forward or differentiated, in a run without jit."""
    signal, target = made(name), memorising_target(DDPM(), Images.all[:4])
    calls = []

    def counted(params, x, label, condition=None):
        jax.debug.callback(lambda _: calls.append(1), label[0])
        return target.apply(params, x, label, condition)

    watched = dataclasses.replace(target, apply=counted)
    row = signal(watched, jnp.asarray(Images.all[0]), jax.random.key(0))
    jax.effects_barrier()
    place = len(signal.names(DDPM())) + signal.diagnostics.index(NETWORK_EVALUATIONS)
    assert len(calls) == float(row[place])


@pytest.mark.parametrize("name", SIGNALS)
def test_row_is_the_images_own(name, tmp_path):
    """Same image, id and seed: the same row in any order, cut and company (bitwise)."""
    target = memorising_target(VP(), Images.all[:N])
    whole = columns(name, target, tmp_path / "whole")
    some = np.random.default_rng(1).permutation(IDS)[:11]
    engine = Engine(tile=8, shard=4, devices=1)
    part = collect(
        made(name),
        target,
        Images(),
        some,
        MEMBER[some],
        0,
        folder=tmp_path / "part",
        engine=engine,
    )
    np.testing.assert_array_equal(part.values, whole.values[np.sort(some)])
