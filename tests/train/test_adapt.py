"""Fine-tuning: what stays stays, what is trained makes the whole, privately too."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import device
from score_mia.check import UserError
from score_mia.checkpoint import load_target
from score_mia.codecs import Bound
from score_mia.spec import parts
from score_mia.train import dp
from score_mia.train.adapt import AttentionOnly, LowRank, Start, Whole
from score_mia.train.config import Privacy, TrainConfig
from score_mia.train.loop import train
from score_mia.train.step import Batch, Layout, make_gradient
from score_mia.trees import leaf_name
from tests.helpers import moved, slow

SPEC = {
    "network": {
        **{"name": "text_unet", "unet": {"widths": [8], "blocks": 1, "groups": 4}},
        "text": {"vocabulary": 9, "length": 4, "width": 8, "hidden": 16},
    },
    "sde": {"name": "ddpm"},
    "parameterisation": {"name": "noise"},
    "codec": {"name": "kl", "channels": 1, "latent": 2, "widths": [4, 4], "groups": 2},
    "shape": [8, 8, 1],
}
SPEC["network"]["unet"] |= {"attends": [True], "heads": [2], "context": 8}
SPEC["network"]["text"] |= {"layers": 1, "heads": 2}
IMAGES = np.random.default_rng(0).random((12, 8, 8, 1), np.float32)
TOKENS = np.random.default_rng(1).integers(0, 9, (12, 4)).astype(np.int32)
CONFIG = TrainConfig(
    steps=4, batch=4, learning_rate=1e-2, warmup=0, flip=False, checkpoint_every=2
)
KINDS = {
    "all": Whole(True),
    "full": Whole(True, text=False),
    "lora": LowRank(2, 3.0),
    "attention": AttentionOnly(),
}


@functools.cache
def base():
    """A model whose layers all count."""
    return moved(parts(SPEC).init(jax.random.key(0)), 0.2, seed=1)


def flat(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {leaf_name(path): np.asarray(leaf) for path, leaf in leaves}


@pytest.mark.parametrize("kind", KINDS)
def test_before_the_first_step_it_is_the_base(kind):
    """To the bit: an adapter begins at zero."""
    how = KINDS[kind]
    joined = how.join(*how.split(base(), jax.random.key(2)))
    jax.tree.map(np.testing.assert_array_equal, joined, base())


def run(folder, how, config=CONFIG):
    return train(
        SPEC, IMAGES, config, folder, conditions=TOKENS, start=Start(base(), how)
    )


@pytest.mark.parametrize("kind", [slow("lora"), slow("attention")])
def test_only_the_projections_change_and_a_kill_changes_nothing(kind, tmp_path):
    whole = run(tmp_path / "whole", KINDS[kind])
    before, after = flat(base()), flat(whole.tree)
    changed = {name for name in before if np.any(before[name] != after[name])}
    assert changed
    assert all("network/unet" in n and "/attn" in n for n in changed), changed
    half = dataclasses.replace(CONFIG, steps=2)
    run(tmp_path / "cut", KINDS[kind], half)
    resumed = run(tmp_path / "cut", KINDS[kind])
    jax.tree.map(np.testing.assert_array_equal, resumed.tree, whole.tree)
    kept = load_target(tmp_path / "cut")
    assert isinstance(kept.codec, Bound)
    with pytest.raises(UserError, match="another config"):
        run(tmp_path / "cut", LowRank(3))


@pytest.mark.slow
def test_a_whole_network_is_trained_and_its_codec_is_not(tmp_path):
    tree = run(tmp_path, None).tree
    jax.tree.map(np.testing.assert_array_equal, tree["codec"], base()["codec"])
    before, after = flat(base()["network"]), flat(tree["network"])
    assert sum(np.any(before[n] != after[n]) for n in before) > 0.9 * len(before)


def gradient_of(how, private=None):
    p = parts(SPEC)
    frozen, trained = how.split(base(), jax.random.key(2))
    layout = Layout(trained)

    def join(frozen, trained):
        return p.target(how.join(frozen, trained))

    made = make_gradient(join, layout, CONFIG.objective)
    if private is not None:
        config = dataclasses.replace(CONFIG, dp=private)
        m = dp.mechanism(config, len(IMAGES))
        mesh = device.mesh(1)
        made = dp.make_private_gradient(join, layout, config, m, mesh)
    return jax.jit(made), frozen, layout, layout.ravel(trained)


BATCH = Batch(jnp.asarray(IMAGES[:4]), jnp.asarray(TOKENS[:4]), jnp.ones(4, bool))
KEY = jax.random.key(7)


def test_the_gradient_of_attention_is_that_of_the_whole_projected():
    gradient, frozen, layout, vector = gradient_of(AttentionOnly())
    whole, codec, every, everything = gradient_of(Whole(True))
    part = layout.unravel(gradient(frozen, vector, BATCH, KEY)[1])
    full = flat({"network": every.unravel(whole(codec, everything, BATCH, KEY)[1])})
    for name, value in part.items():
        np.testing.assert_allclose(value, full[name], rtol=1e-3, atol=1e-6)


def test_the_gradient_of_an_adapter_is_the_kernels_through_the_other_factor():
    """d/d up = scale down^T dW; d/d down = 0 while up is zero."""
    how = KINDS["lora"]
    gradient, frozen, layout, vector = gradient_of(how)
    kernels, tree, every, everything = gradient_of(AttentionOnly())
    trained = layout.unravel(vector)
    part = layout.unravel(gradient(frozen, vector, BATCH, KEY)[1])
    full = every.unravel(kernels(tree, everything, BATCH, KEY)[1])
    for name, pair in part.items():
        want = 1.5 * trained[name]["down"].T @ full[name]
        np.testing.assert_allclose(pair["up"], want, rtol=2e-3, atol=1e-5)
        np.testing.assert_array_equal(pair["down"], 0.0)


def test_each_images_gradient_of_the_adapter_is_clipped():
    """Against a loop over images, one gradient at a time."""
    private = Privacy(delta=1e-3, clip=0.05, control="clip_only", noise_multiplier=1.0)
    made, frozen, layout, vector = gradient_of(KINDS["lora"], private)
    _, total = made(frozen, vector, BATCH, KEY)
    how, p = KINDS["lora"], parts(SPEC)
    keys, want, norms = jax.random.split(KEY, 4), 0.0, []

    @jax.jit
    def one(vector, image, tokens, key):
        model = p.target(how.join(frozen, layout.unravel(vector)))
        return CONFIG.objective(model, image, key, tokens)

    for i in range(4):
        row = jax.grad(one)(vector, BATCH.images[i], BATCH.conditions[i], keys[i])
        norms.append(float(jnp.linalg.norm(row)))
        want = want + row * min(1.0, 0.05 / norms[-1])
    assert max(norms) > 0.05
    m = dp.mechanism(dataclasses.replace(CONFIG, dp=private), len(IMAGES))
    np.testing.assert_allclose(total, want / m.expected, rtol=2e-3, atol=1e-6)


def test_the_whole_network_leaves_a_text_encoder_out_unless_it_is_named():
    frozen, trained = KINDS["full"].split(base(), KEY)
    assert {*frozen} == {"codec", "text"}
    assert {*flat(trained)} < {*flat(base()["network"])}
    frozen, trained = KINDS["all"].split(base(), KEY)
    assert {*frozen} == {"codec"}
    assert {*flat(trained)} == {*flat(base()["network"])}


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_numbers_are_no_constants_of_the_program(kind):
    """A model of gigabytes would be compiled into it, once for every program."""
    gradient, frozen, _, vector = gradient_of(KINDS[kind])
    program = jax.make_jaxpr(gradient)(frozen, vector, BATCH, KEY)
    held = sum(int(np.size(c)) for c in constants(program.jaxpr, program.consts))
    assert held < 200
    assert sum(a.size for a in jax.tree.leaves(frozen)) > held


def constants(jaxpr, consts):
    """Those of a program and of the programs within it."""
    yield from consts
    for equation in jaxpr.eqns:
        for value in equation.params.values():
            if hasattr(value, "consts"):
                yield from constants(value.jaxpr, value.consts)


def test_what_cannot_be_fine_tuned_is_told(tmp_path):
    with pytest.raises(UserError, match="learned codec"):
        train(SPEC, IMAGES, CONFIG, tmp_path, conditions=TOKENS)
    mlp = {**SPEC, "network": {"name": "mlp"}, "codec": {"name": "affine"}}
    tree = parts(mlp).init(jax.random.key(0))
    with pytest.raises(UserError, match="has no attention"):
        LowRank().split(tree, KEY)
