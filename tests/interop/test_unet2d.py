"""UNet2DModel folders that diffusers wrote, against what diffusers computes with them.

Each option of the network that others lack is a trap: set otherwise, parity is lost.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.interop.diffusers import describe, read_folder
from score_mia.interop.diffusers.unet2d import entry, named
from score_mia.interop.keys import Key
from score_mia.networks import NETWORKS
from score_mia.registry import make
from score_mia.sampling import Ddim
from score_mia.sde import DDPM
from score_mia.spec import parts

MODELS = Path(__file__).parents[1] / "golden" / "models"
CASES = ("google", "default", "classes", "resnet", "hollow")
BOUND = 1e-4
"""Of the RMS of their outputs."""


@functools.cache
def golden(name):
    arrays = dict(np.load(MODELS / f"unet2d_{name}.npz"))
    for image in ("x", "y", "ddim"):
        arrays[image] = arrays[image].transpose(0, 2, 3, 1)
    channels = arrays["x"].shape[-1]
    return {**arrays, "y": arrays["y"][..., :channels]}


@functools.cache
def read(name):
    return read_folder(MODELS / f"unet2d_{name}")


def told(name):
    return (
        jnp.asarray(golden(name)["classes"], jnp.int32) if name == "classes" else None
    )


def error(name, **changes):
    """RMS of our outputs' differences over that of theirs."""
    found, arrays = read(name), golden(name)
    network = make("network", NETWORKS, {**found.spec["network"], **changes})
    apply = jax.jit(network.build(arrays["x"].shape[1:]).apply)
    times = jnp.asarray(arrays["times"], jnp.float32)
    ours = np.asarray(apply(found.params, arrays["x"], times, told(name)))
    return rms(ours - arrays["y"]) / rms(arrays["y"])


def rms(array):
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_theirs(name):
    assert rms(golden(name)["y"]) >= 0.1
    assert error(name) <= BOUND


@pytest.mark.many
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("google", {"embedding_order": "cos_sin"}),
        ("google", {"freq_shift": 0}),
        ("google", {"pad": (1, 1)}),
        ("google", {"eps": 1e-3}),
        ("google", {"head_width": 4}),
        ("default", {"embedding_order": "sin_cos"}),
        ("default", {"freq_shift": 1}),
        ("default", {"pad": (0, 1)}),
        ("default", {"head_width": 0}),
        ("default", {"head_width": 0, "heads": 2}),
        ("resnet", {"centered": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_trap_a_wrong_option_loses_parity(name, wrong):
    """Of the same shapes of parameters, so that nothing else would tell."""
    assert error(name, **wrong) > 3 * BOUND


def test_trap_eps_of_the_normalisations():
    """1e-6 and 1e-5 differ by little: the layer alone tells them apart."""
    assert read("google").spec["network"]["eps"] == 1e-6
    assert read("default").spec["network"]["eps"] == 1e-5
    assert error("google", eps=1e-5) > 2 * error("google")


def test_trap_attention_on_the_way_up_is_after_every_block():
    """Once a level is another network, of fewer parameters."""
    found = read("google")
    spec = {**found.spec["network"], "up_attention": "level"}
    with pytest.raises(UserError, match=r"have no 'up_blocks\.0\.attention"):
        read_folder(MODELS / "unet2d_google", {**found.spec, "network": spec})


@pytest.mark.parametrize("name", ["google", "default"])
def test_one_ddim_step_and_losses_are_theirs(name):
    found, arrays = read(name), golden(name)
    target = parts(found.spec).target(jax.tree.map(jnp.asarray, found.params))
    x = jnp.asarray(arrays["x"][3])
    ours, _ = Ddim(denoise=False).run(
        target.denoiser, x, np.float32([500, 400]), jax.random.key(0)
    )
    theirs = arrays["ddim"][0]
    assert rms(np.asarray(ours) - theirs) / rms(theirs) <= BOUND
    eps = jax.jit(jax.vmap(target.denoiser.eps))
    times = jnp.asarray(arrays["times"], jnp.float32)
    noise = np.random.RandomState(3).standard_normal(arrays["x"].shape)
    losses = [
        np.mean((noise - eps_) ** 2, axis=(1, 2, 3))
        for eps_ in (np.asarray(eps(arrays["x"], times)), arrays["y"])
    ]
    np.testing.assert_allclose(*losses, rtol=BOUND)
    assert target.denoiser.sde == DDPM()


def test_older_names_of_attention_are_known():
    key = named("middle_attention.query.kernel")
    assert isinstance(key, Key)
    assert key.names == (
        "mid_block.attentions.0.to_q.weight",
        "mid_block.attentions.0.query.weight",
    )
    assert named("ups.0.attentions.1.out.bias").names[1].endswith("proj_attn.bias")


CIFAR = {  # config.json of google/ddpm-cifar10-32
    "_class_name": "UNet2DModel",
    **{"act_fn": "silu", "attention_head_dim": None, "center_input_sample": False},
    **{"block_out_channels": [128, 256, 256, 256], "downsample_padding": 0},
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", *["DownBlock2D"] * 2],
    **{"flip_sin_to_cos": False, "freq_shift": 1, "in_channels": 3},
    **{"layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-6},
    **{"norm_num_groups": 32, "out_channels": 3, "sample_size": 32},
    "time_embedding_type": "positional",
    "up_block_types": [*["UpBlock2D"] * 2, "AttnUpBlock2D", "UpBlock2D"],
}


def test_the_shapes_of_ddpm_cifar10_32():
    """35.7 million parameters, as published; this many by torch's count."""
    network = make("network", NETWORKS, entry(CIFAR)).build((32, 32, 3))
    params = jax.eval_shape(network.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 35_746_307


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"time_embedding_type": "fourier"}, "time_embedding_type='fourier'"),
        ({"class_embed_type": "timestep"}, "class_embed_type='timestep'"),
        ({"mid_block_type": "UNetMidBlock2DCrossAttn"}, "UNetMidBlock2DCrossAttn"),
        ({"mid_block_scale_factor": 1.41}, "mid_block_scale_factor=1.41"),
        ({"downsample_padding": 2}, "downsample_padding=2"),
        ({"downsample_type": "fir"}, "downsample_type='fir'"),
        ({"act_fn": "relu"}, "act_fn='relu'.*'swish'"),
        ({"resnet_time_scale_shift": "spatial"}, "'spatial' is|spatial"),
        ({"out_channels": 4}, "out_channels=4"),
        ({"down_block_types": ["SkipDownBlock2D"] * 4}, "SkipDownBlock2D.*AttnDown"),
        ({"up_block_types": ["UpBlock2D"] * 4}, "AttnDownBlock2D.*'UpBlock2D'"),
        ({"down_block_types": ["DownBlock2D"]}, "are 1 and 4 for 4"),
        ({"encoder_hid_dim": 3}, "encoder_hid_dim"),
    ],
)
def test_what_has_no_counterpart_is_named(change, words):
    with pytest.raises(UserError, match=words) as caught:
        entry({**CIFAR, **change})
    assert len(str(caught.value).splitlines()) == 1
    assert ";" in str(caught.value)


@pytest.mark.parametrize("size", [None, "8", [8], 0])
def test_a_config_without_a_size_is_told(tmp_path, size):
    config = json.loads((MODELS / "unet2d_google/unet/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "sample_size": size}))
    (tmp_path / "scheduler_config.json").write_text('{"_class_name": "DDPMScheduler"}')
    with pytest.raises(UserError, match="tell no shape of x"):
        describe(tmp_path)


def test_wrong_levels_are_told():
    spec = dataclasses.asdict(NETWORKS["unet2d"](widths=(4,), attention=(True,)))
    for change, words in (
        ({"attention": ()}, "0 entries for 1 levels"),
        ({"widths": ()}, "no level"),
        ({"halve_blocks": (True, True)}, "halve_blocks"),
        ({"pad": (2, 2)}, "does not halve"),
        ({"middle": "some"}, "middle='some'"),
        ({"eps": 0.0}, "eps"),
    ):
        with pytest.raises(UserError, match=words):
            NETWORKS["unet2d"](**{**spec, **change})
    wide = NETWORKS["unet2d"](widths=(8,), attention=(True,), groups=2, head_width=16)
    with pytest.raises(UserError, match="head_width=16"):
        wide.build((4, 4, 1))
