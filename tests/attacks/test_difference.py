"""Less what another model says: the engine reads both with one noise, once."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia import checkpoint
from score_mia.attacks import SIGNALS, Gsa, Observe, against, calibrated, difference
from score_mia.attacks.difference import Against, AgainstHost
from score_mia.attacks.loss import Loss
from score_mia.attacks.protocol import Elsewhere, fingerprint
from score_mia.check import UserError
from score_mia.engine import Engine, Reader, collect
from score_mia.registry import make
from score_mia.sampling import SAMPLERS, Service
from score_mia.sde import DDPM
from tests.helpers import kept_model
from tests.oracles import memorising_target

SHAPE = (4, 4, 1)
N = 8
ALL = np.random.default_rng(0).random((3 * N, *SHAPE), np.float32)
IDS = np.arange(3 * N)
SDE = DDPM()
TARGET = memorising_target(SDE, ALL[:N])
SERVICE = Service(SAMPLERS["ddim"](steps=2), None, SHAPE, 4, None)


class Images:
    digest = "noise"

    def images(self, ids):
        return ALL[ids]


def reader(signal, model=TARGET, **engine):
    how = Engine(**{"tile": 4, "shard": 8, "devices": 1, **engine})
    of = {"target": "the one under attack" if model is TARGET else "another"}
    return Reader("x", signal, model, Images(), 5, how, of, service=SERVICE)


def rows(signal, folder, name="x", model=TARGET, **engine):
    made = reader(signal, model, **engine)
    return collect(made, IDS, folder / name, products=folder / "products")


def test_columns_are_the_difference_of_two_readings_of_one_noise(tmp_path):
    inner, folder = Loss((100, 300), draws=2), kept_model(SDE)
    own = rows(inner, tmp_path, "own").matrix()
    other = rows(inner, tmp_path, "other", checkpoint.load_target(folder)).matrix()
    found = rows(against(inner, folder), tmp_path)
    assert found.names == ("loss@100", "loss@300")
    np.testing.assert_allclose(found.matrix(), own - other, rtol=1e-5, atol=1e-6)
    assert set(found.column("network_evaluations")) == {4.0}
    same = rows(
        against(inner, folder), tmp_path, "same", checkpoint.load_target(folder)
    )
    assert np.abs(same.matrix()).max() < 1e-6


def test_the_other_model_is_read_once_and_needed_no_more(tmp_path, monkeypatch):
    folder, signal = kept_model(SDE), against(Loss((100,)), kept_model(SDE))
    before = rows(signal, tmp_path, "first").matrix()

    def never(*_, **__):
        raise AssertionError("a finished reading loads the other model again")

    monkeypatch.setattr(difference, "load_target", never)
    again = rows(calibrated(signal, "sum"), tmp_path, "second").matrix()
    assert np.isfinite(again).all()
    assert (again > before).all()
    assert len(list((tmp_path / "products").glob("readelsewhere-*"))) == 1
    with pytest.raises(AssertionError):
        rows(against(Loss((200,)), folder), tmp_path, "third")


def test_another_model_decides_other_numbers(tmp_path):
    one, other = (against(Loss((100,)), kept_model(SDE, seed)) for seed in (0, 1))
    assert fingerprint(one)["of"] != fingerprint(other)["of"]
    assert reader(one).facts != reader(other).facts
    assert (
        rows(one, tmp_path, "a").matrix() != rows(other, tmp_path, "b").matrix()
    ).any()
    assert isinstance(one.needs[-1], Elsewhere)


def test_a_bound_on_memory_changes_no_fact_between_two_starts(tmp_path):
    """The tile is that of the model under attack, whatever the other would need."""
    model, signal = kept_model(SDE), against(Gsa(2), kept_model(SDE, 1))
    target = checkpoint.load_target(model)
    size = Gsa(2).columns(target).bytes_per_row
    first = rows(signal, tmp_path, "a", target, memory=2 * size).matrix()
    again = rows(calibrated(signal, "sum"), tmp_path, "b", target, memory=2 * size)
    assert again.matrix().shape == first.shape


def test_other_layers_are_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="has other columns; give a model") as caught:
        rows(against(Gsa(2), kept_model(SDE)), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_host_signal_is_asked_of_both(tmp_path):
    inner = Observe(informer="black", steps=2, distance="rmse")
    folder = kept_model(SDE)
    signal = against(inner, folder)
    assert isinstance(signal, AgainstHost)
    assert signal.access == "samples"
    own = rows(inner, tmp_path, "own").matrix()
    other = rows(inner, tmp_path, "other", checkpoint.load_target(folder)).matrix()
    np.testing.assert_allclose(rows(signal, tmp_path).matrix(), own - other, atol=1e-6)


def test_a_config_names_the_folder(tmp_path):
    spec = {"name": "against", "signal": {"name": "loss", "times": 3}}
    signal = make("signal", SIGNALS, {**spec, "folder": kept_model(SDE)})
    assert isinstance(signal, Against)
    title = "Loss at one time, less that of another model"
    assert signal.columns(TARGET.denoiser).title == title
    for folder in (tmp_path / "nothing", tmp_path):
        signal = make("signal", SIGNALS, {**spec, "folder": str(folder)})
        with pytest.raises(UserError, match="does not exist") as caught:
            signal.columns(TARGET.denoiser)
        assert "\n" not in str(caught.value)
