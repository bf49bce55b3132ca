"""From a checkpoint and a configuration of score_sde to a target, or one line."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.interop import from_score_sde_config, read_score_sde
from score_mia.interop.unpickle import read_torch
from score_mia.sde import SMLD, VE, VP, SubVP
from tests.interop.golden import case
from tests.interop.writer import checkpoint


@pytest.fixture(scope="module")
def goldens(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: case(name, folder) for name in ("vesde", "smld", "jax_ddpm_smld")}


def refused(path, config):
    with pytest.raises(UserError) as caught:
        read_score_sde(path, config)
    (line,) = str(caught.value).splitlines()
    assert ";" in line
    return line


def changed(config, path, value):
    """The configuration with another value; `...` takes the field away."""
    config, (section, _, field) = copy.deepcopy(config), path.partition(".")
    if not field:
        config[section] = value
    elif value is ...:
        del config[section][field]
    else:
        config[section][field] = value
    return config


def test_says_where_it_came_from(goldens):
    golden = goldens["vesde"]
    found = read_score_sde(golden.path, golden.config)  # theirs, mapped on the way
    assert found.spec == golden.spec
    assert found.step == 1
    assert found.origin["file"] == "vesde"
    assert found.origin["format"] == "score_sde_pytorch"
    assert len(found.origin["sha256"]) == 64
    jax = goldens["jax_ddpm_smld"]
    found = read_score_sde(jax.path, jax.spec)
    assert found.step == 7
    assert found.origin["format"] == "score_sde"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("network.features", 8, "has shape"),
        ("network.blocks", 2, "state dict"),
        ("network.block", "ddpm", "state dict"),
        ("network.attention", [], "state dict"),
        ("network.embedding", "fourier", "state dict"),
        ("sde.sigma_max", 90.0, "noise levels"),
        ("sde.sigma_min", 0.001, "noise levels"),
        ("network", {"name": "mlp"}, "none of score_sde's"),
        ("sde.name", "vee", "did you mean"),
    ],
)
def test_another_specification(goldens, path, value, said):
    golden = goldens["vesde"]
    config = changed(golden.spec, path, value)
    assert said in refused(golden.path, config)


def test_another_specification_of_a_jax_checkpoint(goldens):
    golden = goldens["jax_ddpm_smld"]
    for path, value in (
        ("network.features", 64),
        ("network.blocks", 2),
        ("network.multipliers", [1]),
        ("network.attention", []),
    ):
        assert str(golden.path) in refused(
            golden.path, changed(golden.spec, path, value)
        )


def test_spoilt_contents(goldens, tmp_path):
    golden = goldens["vesde"]
    theirs = read_torch(golden.path, ("model", "ema"))
    model, averages = theirs["model"], theirs["ema"]["shadow_params"]
    path = tmp_path / "x.pth"
    assert read_score_sde(checkpoint(path, model, averages), golden.spec).step == 3

    def spoilt(model=model, averages=averages, **rest):
        return refused(checkpoint(path, model, averages, **rest), golden.spec)

    name = "module.all_modules.3.Conv_0.weight"
    nan = model[name].copy()
    nan[0, 0, 0, 0] = np.nan
    assert "NaN" in spoilt(model={**model, name: nan})
    infinite = [*averages[:-1], np.full_like(averages[-1], np.inf)]
    assert "ema" in spoilt(averages=infinite)
    assert "shape" in spoilt(model={**model, name: model[name][:1]})
    assert "no place" in spoilt(model={**model, "module.all_modules.99.W": model[name]})
    assert "moving averages" in spoilt(averages=averages[1:])
    assert "moving average of" in spoilt(averages=averages[::-1])
    assert "no entry 'ema'" in spoilt(ema=[1, 2])
    assert "no entry 'step'" in spoilt(step=None)
    assert "is no tensor" in spoilt(model=model, ema={"shadow_params": [1] * 99})


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_jax_checkpoints(goldens, share, tmp_path):
    golden, path = goldens["jax_ddpm_smld"], tmp_path / "checkpoint_1"
    data = golden.path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert str(path) in refused(path, golden.spec)


def test_files_of_another_kind(goldens, tmp_path):
    for data in (b"not a checkpoint", b"\x93NUMPY", b"\x81\xa1a\x01", b"\x80\x02}."):
        path = tmp_path / "other"
        path.write_bytes(data)
        assert str(path) in refused(path, goldens["vesde"].spec)
    assert "does not exist" in refused(tmp_path / "none", goldens["vesde"].spec)
    assert "is a folder" in refused(tmp_path, goldens["vesde"].spec)


def test_what_a_configuration_means(goldens):
    config = goldens["vesde"].config
    spec = goldens["vesde"].spec
    assert spec["sde"] == {"name": "ve", "sigma_min": 0.01, "sigma_max": 50.0}
    assert spec["parameterisation"] == {"name": "score", "label": "std"}
    assert spec["codec"] == {"low": 0.0, "high": 1.0}
    assert VE(0.01, 50.0).std(1.0) == pytest.approx(50.0)
    discrete = from_score_sde_config(changed(config, "training.continuous", False))
    assert discrete["sde"]["name"] == "smld"
    assert discrete["parameterisation"]["offset"] == 999.0
    assert SMLD(0.01, 50.0).std(999.0) == pytest.approx(50.0)
    for kind, name in (("vpsde", VP), ("subvpsde", SubVP)):
        continuous = from_score_sde_config(changed(config, "training.sde", kind))
        assert {"vp": VP, "sub_vp": SubVP}[continuous["sde"]["name"]] is name
        assert continuous["parameterisation"] == {"name": "noise", "scale": 999.0}
    centred = from_score_sde_config(changed(config, "data.centered", True))
    assert centred["codec"] == {"low": -1.0, "high": 1.0}
    assert centred["network"]["centered"] is True


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("model.nf", ..., "model.nf is missing"),
        ("training.sde", "vspde", "did you mean 'vpsde'"),
        ("model.name", "ncsnv2", "did you mean 'ncsnpp'"),
        ("model.normalization", "InstanceNorm", "only GroupNorm"),
        ("model.scale_by_sigma", True, "no counterpart"),
        ("data.centered", ..., "data.centered is missing"),
        ("data.image_size", "large", "another type"),
        ("model.ch_mult", 2, "another type"),
        ("model.nonlinearity", None, "another type"),
    ],
)
def test_configurations_without_a_counterpart(goldens, path, value, said):
    config = changed(goldens["vesde"].config, path, value)
    with pytest.raises(UserError, match=said):
        from_score_sde_config(config)


def test_no_configuration():
    with pytest.raises(UserError, match="no section 'model'"):
        from_score_sde_config({"training": {}})
