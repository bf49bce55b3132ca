"""A folder of diffusers' DiTPipeline, against what diffusers computes with it."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.conditions import Label
from score_mia.interop.diffusers import describe, read_folder, schedulers
from score_mia.interop.diffusers.dit import entry
from score_mia.networks import NETWORKS
from score_mia.networks.latent.dit import DiT
from score_mia.parameterisation import Flow
from score_mia.registry import make
from score_mia.sampling import Ddim
from score_mia.sde import RectifiedFlow
from score_mia.spec import parts
from score_mia.target import Guidance, Target

MODELS = Path(__file__).parents[1] / "golden" / "models"
BOUND = 1e-4
"""Of the RMS of their outputs."""

XL = {"_class_name": "Transformer2DModel", "out_channels": 8, "attention_bias": True}
XL |= {"cross_attention_dim": None, "num_vector_embeds": None}
XL |= {"only_cross_attention": False, "use_linear_projection": False}


@functools.cache
def golden():
    arrays = dict(np.load(MODELS / "dit.npz"))
    for image in ("x", "y", "ddim", "flow1", "flow3"):
        arrays[image] = arrays[image].transpose(0, 2, 3, 1)
    return arrays


@functools.cache
def read():
    return read_folder(MODELS / "dit", place=jnp.asarray)


def rms(array):
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))


def off(ours, theirs):
    return rms(np.asarray(ours) - theirs) / rms(theirs)


def outputs(**changes):
    found, arrays = read(), golden()
    network = make("network", NETWORKS, {**found.spec["network"], **changes})
    apply = jax.jit(network.build(arrays["x"].shape[1:]).apply)
    params = found.params["network"]
    times = jnp.asarray(arrays["times"], jnp.float32)
    return apply(params, arrays["x"], times, jnp.asarray(arrays["classes"], jnp.int32))


def test_outputs_are_theirs():
    """The mean's channels, of a network that predicts a variance besides."""
    assert rms(golden()["y"]) >= 0.1
    assert off(outputs(), golden()["y"]) <= BOUND


@pytest.mark.parametrize(
    "wrong",
    [{"freq_shift": 0}, {"eps": 1e-2}, {"heads": 4}, {"activation": "quick_gelu"}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_trap_a_wrong_option_loses_parity(wrong):
    assert off(outputs(**wrong), golden()["y"]) > 3 * BOUND


def test_half_precision_and_chunks_of_attention_cost_what_they_say():
    """Chunks: rounding. bfloat16 has 8 bits: a percent or so of the output."""
    assert off(outputs(attention_chunk=5), golden()["y"]) <= BOUND
    assert off(outputs(compute="bfloat16"), golden()["y"]) < 0.03


@functools.cache
def target():
    return parts(read().spec).target(read().params)


def test_the_condition_is_a_class_and_the_last_is_none():
    assert target().conditioner == Label(6, nothing=5)
    assert target().codec.shape((32, 32, 3)) == (16, 16, 4)
    assert read().spec["shape"] == [32, 32, 3]


def test_a_guided_ddim_step_and_losses_are_theirs():
    arrays, null = golden(), jnp.int32(5)
    model = target().denoiser.guided(Guidance(null, 4.0))
    run = jax.jit(
        lambda x: Ddim(denoise=False).run(
            model, x, np.float32([500, 400]), jax.random.key(0), jnp.int32(2)
        )[0]
    )
    assert off(run(jnp.asarray(arrays["x"][3])), arrays["ddim"][0]) <= BOUND
    eps = jax.jit(jax.vmap(target().denoiser.eps))
    times = jnp.asarray(arrays["times"], jnp.float32)
    classes = jnp.asarray(arrays["classes"], jnp.int32)
    noise = np.random.RandomState(3).standard_normal(arrays["x"].shape)
    losses = [
        np.mean((noise - predicted) ** 2, axis=(1, 2, 3))
        for predicted in (np.asarray(eps(arrays["x"], times, classes)), arrays["y"])
    ]
    np.testing.assert_allclose(*losses, rtol=BOUND)


@pytest.mark.parametrize("shift", [1, 3])
def test_a_step_of_ddim_is_their_euler_step_of_a_flow(shift):
    """Told 1000 sigma, whatever the shift; the shift is where samplers stand."""
    arrays = golden()
    told = schedulers.sections(
        "FlowMatchEulerDiscreteScheduler",
        {"shift": float(shift), "num_train_timesteps": 1000},
    )
    sde = make("sde", {"rectified_flow": RectifiedFlow}, told["sde"])
    meaning = make("parameterisation", {"flow": Flow}, told["parameterisation"])
    sigmas = arrays[f"sigmas{shift}"][4:6].astype(np.float64)
    times = np.float32(sigmas / (shift - (shift - 1) * sigmas))
    np.testing.assert_allclose(jax.vmap(sde.std)(times), sigmas, rtol=1e-5)
    labels = []

    def apply(params, x, label, condition):
        jax.debug.callback(lambda value: labels.append(float(value)), label[0])
        return params[None]

    flow = Target(jnp.asarray(arrays["y"][3]), sde, meaning, apply)
    x, _ = Ddim(denoise=False).run(
        flow.denoiser, jnp.asarray(arrays["x"][3]), times, jax.random.key(0)
    )
    jax.effects_barrier()
    assert off(x, arrays[f"flow{shift}"][0]) <= BOUND
    np.testing.assert_allclose(labels, 1000 * sigmas[:1], rtol=1e-5)


def test_a_flow_told_of_by_its_scheduler_makes_a_spec(tmp_path):
    """SiT's network in a bare folder, with a shifted flow."""
    config = json.loads((MODELS / "dit/transformer/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (tmp_path / "scheduler_config.json").write_text(json.dumps(scheduler))
    spec = describe(tmp_path)
    assert parts(spec).sde == RectifiedFlow(shift=3.0)
    assert parts(spec).parameterisation == Flow("std", 1000.0)
    scheduler["invert_sigmas"] = True
    (tmp_path / "scheduler_config.json").write_text(json.dumps(scheduler))
    with pytest.raises(UserError, match="invert_sigmas=True"):
        describe(tmp_path)


def test_the_shapes_of_dit_xl_2():
    """Torch's count of the file's network, and the published one of the shared one.

    diffusers has an embedding for each of the 28 layers. The published 675,129,632 hold
    the fixed positions of 256 tokens, which are no parameters here.
    """
    read_as = make("network", NETWORKS, entry(XL))
    published = DiT(classes=1001, learned_variance=True)
    for spec, count in (
        (read_as, 749_826_464),
        (published, 675_129_632 - 256 * 1152),
    ):
        params = jax.eval_shape(spec.build((32, 32, 4)).init, jax.random.key(0))
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


def test_a_new_network_says_nothing():
    """adaLN-Zero: every gate and the last layer are 0."""
    network = DiT(16, 2, 1, classes=3).build((4, 4, 1))
    params = network.init(jax.random.key(0))
    x, one = jnp.ones((1, 4, 4, 1)), jnp.ones(1, jnp.int32)
    assert np.all(np.asarray(network.apply(params, x, jnp.ones(1), one)) == 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm_type": "ada_norm_single"}, "norm_type='ada_norm_single'"),
        ({"activation_fn": "geglu"}, "activation_fn='geglu'"),
        ({"norm_elementwise_affine": True}, "norm_elementwise_affine"),
        ({"cross_attention_dim": 768}, "cross_attention_dim=768"),
        ({"out_channels": 5}, "out_channels=5"),
        ({"caption_projection": 3}, "caption_projection"),
    ],
)
def test_what_has_no_counterpart_is_named(change, words):
    with pytest.raises(UserError, match=words) as caught:
        entry({**XL, **change})
    assert len(str(caught.value).splitlines()) == 1


def test_impossible_transformers_are_refused():
    for fields, words in (
        ({"heads": 5}, "heads=5"),
        ({"activation": "swish"}, "activation='swish'"),
    ):
        with pytest.raises(UserError, match=words):
            DiT(**fields)
    with pytest.raises(UserError, match="patches of 2x2"):
        DiT(16, 2, 1).build((5, 4, 1))
