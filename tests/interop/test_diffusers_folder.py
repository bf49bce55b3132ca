"""Folders of diffusers: what they describe, their weights, or one line that tells why.

The network is one of ours, registered as if it were a class of theirs.
"""

from __future__ import annotations

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from score_mia.check import UserError
from score_mia.interop.diffusers import describe, families, read_folder
from score_mia.interop.safetensors import Lazy, Tensors
from score_mia.spec import parts
from tests.interop.test_safetensors import theirs

CONFIG = {"_class_name": "TinyModel", "sample_size": 2, "in_channels": 1}
SCHEDULER = {"_class_name": "DDIMScheduler", "num_train_timesteps": 100}
INDEX = {
    "_class_name": "DDPMPipeline",
    "_diffusers_version": "0.1.1",
    "unet": ["diffusers", "TinyModel"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}
TINY = {"name": "mlp", "features": 6, "blocks": 1}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    tiny = families.Network(lambda config: dict(TINY))
    monkeypatch.setitem(families.NETWORKS, "TinyModel", tiny)


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def model(folder, **changes):
    put(folder / "config.json", {**CONFIG, **changes})
    state = {k: np.ascontiguousarray(v) for k, v in theirs()[1].items()}
    save_file(state, folder / "diffusion_pytorch_model.safetensors")


def pipeline(folder, **changes):
    put(folder / "model_index.json", {**INDEX, **changes})
    put(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    model(folder / "unet")
    return folder


def flat(folder):
    """As the first models on the hub: all files of a pipeline in one folder."""
    put(folder / "model_index.json", INDEX)
    put(folder / "scheduler_config.json", SCHEDULER)
    model(folder)
    return folder


def bare(folder):
    model(folder)
    put(folder / "scheduler_config.json", SCHEDULER)
    return folder


def inside(folder):
    model(folder)
    put(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    return folder


@pytest.mark.parametrize(
    "make", [pipeline, flat, bare, inside, lambda f: pipeline(f) / "unet"]
)
def test_every_layout_is_the_same_model(tmp_path, make):
    folder = make(tmp_path / "model")
    spec = describe(folder)
    assert spec == {
        "network": TINY,
        "sde": {"name": "ddpm", "beta_min": 0.01, "beta_max": 2.0, "steps": 100},
        "parameterisation": {"name": "noise"},
        "codec": {"low": -1.0, "high": 1.0},
        "sampler": {"name": "ddim", "denoise": True},
        "shape": [2, 2, 1],
    }
    found = read_folder(folder)
    assert "sampler" not in found.spec
    assert found.ema is found.params
    assert found.origin["file"] == folder.name
    for ours, read in zip(
        jax.tree.leaves(theirs()[0]), jax.tree.leaves(found.params), strict=True
    ):
        np.testing.assert_array_equal(ours, read)
    parts(found.spec).target(found.params)


def test_describing_reads_no_weights(tmp_path):
    folder = pipeline(tmp_path)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert describe(folder)["network"] == TINY
    with pytest.raises(UserError, match="holds no safetensors"):
        read_folder(folder)


def test_weights_in_half_precision_and_another_shape(tmp_path):
    folder = pipeline(tmp_path)
    spec = {**describe(folder), "codec": {"low": 0.0, "high": 1.0}}
    found = read_folder(folder, spec, dtype="bfloat16", place=jnp.asarray)
    assert found.spec["codec"] == {"low": 0.0, "high": 1.0}
    assert {leaf.dtype for leaf in jax.tree.leaves(found.params)} == {
        jnp.dtype(jnp.bfloat16)
    }


@dataclasses.dataclass(frozen=True)
class Twice(Lazy):
    """Tensors, each twice as large."""

    of: Lazy

    def __getitem__(self, name):
        return 2 * self.of[name]

    def __iter__(self):
        return iter(self.of)

    def __len__(self):
        return len(self.of)

    def __contains__(self, name):
        return name in self.of

    def shape(self, name):
        return self.of.shape(name)


class Doubled:
    """A patch: every weight twice as large."""

    origin = {"doubled": "yes"}  # noqa: RUF012

    def over(self, weights):
        return {name: Twice(tensors) for name, tensors in weights.items()}


def test_weights_are_patched_as_they_are_read(tmp_path):
    plain, changed = (
        read_folder(pipeline(tmp_path), lora=lora) for lora in (None, Doubled())
    )
    doubled = jax.tree.map(lambda a: 2 * a, plain.params)
    jax.tree.map(np.testing.assert_array_equal, doubled, changed.params)
    assert changed.origin["doubled"] == "yes"


def _without(*names):
    def make(folder):
        pipeline(folder)
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return folder

    return make


def _scheduler(**changes):
    def make(folder):
        pipeline(folder)
        told = {**SCHEDULER, **changes}
        put(folder / "scheduler" / "scheduler_config.json", told)
        return folder

    return make


def _pickled(folder):
    pipeline(folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    return folder


def _bare(**changes):
    def make(folder):
        model(folder, **changes)
        return folder

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: f / "none", ["does not exist"]),
        (lambda f: pipeline(f) / "model_index.json", ["is a file"]),
        (lambda f: f, ["neither model_index.json nor config.json"]),
        (lambda f: pipeline(f, bert=["a", "LDMBertModel"]), ["'bert'", "known: "]),
        (lambda f: pipeline(f, unet=["a"]), ["no class for 'unet'"]),
        (lambda f: pipeline(f, unet=[None, None]), ["no network"]),
        (_without("unet/config.json"), ["config.json: does not exist"]),
        (_without("scheduler"), ["scheduler_config.json: does not exist"]),
        (_bare(), ["no scheduler_config.json"]),
        (_bare(_class_name="UNet3D"), ["'UNet3D'", "known: ", "TinyModel"]),
        (
            _scheduler(_class_name="SaSolver"),
            ["'SaSolver'", "known: ", "DDPMScheduler"],
        ),
        (_scheduler(prediction_type="flow"), ["prediction_type='flow'", "epsilon"]),
        (_scheduler(beta_schedule="laplace"), ["beta_schedule='laplace'", "linear"]),
        (_scheduler(num_train_timesteps="many"), ["DDIMScheduler", "another type"]),
        (_pickled, ["diffusion_pytorch_model.bin", "safetensors"]),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path, make, words):
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError) as caught:
        read_folder(make(tmp_path / "model"))
    (line,) = str(caught.value).splitlines()
    assert ";" in line
    for word in words:
        assert word in line, line


def test_an_unknown_class_in_a_pipeline_is_told(tmp_path):
    pipeline(tmp_path, unet=["diffusers", "UNet9"])
    put(tmp_path / "unet" / "config.json", {**CONFIG, "_class_name": "UNet9"})
    with pytest.raises(UserError, match=r"unet of class 'UNet9' is unknown; .*TinyM"):
        describe(tmp_path)


def test_origin_is_that_of_the_weights(tmp_path):
    first, second = pipeline(tmp_path / "a"), pipeline(tmp_path / "b")
    path = second / "unet" / "diffusion_pytorch_model.safetensors"
    same = [read_folder(f).origin["sha256"] for f in (first, second)]
    tensors = Tensors.of(path)
    save_file({k: tensors[k] + 1 for k in tensors}, path)
    assert same[0] == same[1] != read_folder(second).origin["sha256"]
