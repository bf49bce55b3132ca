"""What every network in the table must do, and what its parts promise."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from score_mia.check import UserError
from score_mia.networks import MLP, NETWORKS, Captioned, DDPMNet, NCSNpp, UNet2D
from score_mia.networks.latent.dit import DiT
from score_mia.networks.latent.text import ClipText
from score_mia.networks.latent.unet import LatentUNet, TextUNet
from score_mia.networks.layers import Draws, Dropout, GroupNorm
from score_mia.networks.network import Embedding, computing
from tests.helpers import moved, slow

SHAPE = (8, 8, 2)
UNET = {"features": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,)}
SPECS = {
    "ddpm": DDPMNet(**UNET, groups=4, dropout=0.5),
    "ncsnpp": NCSNpp(**UNET, dropout=0.5),
    "mlp": MLP(features=16, blocks=1, dropout=0.5),
    "captioned": Captioned(
        **UNET,
        groups=4,
        dropout=0.5,
        vocabulary=9,
        length=5,
        width=8,
        heads=2,
        sketch=2,
    ),
    "unet2d": UNet2D(
        widths=(8, 16), attention=(False, True), blocks=1, groups=4, dropout=0.5
    ),
}
SPECS["dit"] = DiT(16, 2, 2, dropout=0.5)
SPECS["text_unet"] = TextUNet(
    LatentUNet((8, 8), 1, (True, False), (2, 2), 8, groups=4),
    ClipText(9, 5, 8, 16, 1, 2),
)
LABELLED = ("ddpm", "ncsnpp", "mlp", "unet2d", "dit")
DROPS = (*LABELLED, "captioned")
X = jax.random.normal(jax.random.key(0), (3, *SHAPE))
LABEL = jnp.asarray([3.0, 40.0, 900.0])
TOKENS = jnp.asarray([[2, 5, 1, 0, 0], [5, 2, 1, 0, 0], [0, 0, 0, 0, 0]])


@functools.cache
def made(name, **changes):
    """A network jitted, and its parameters; compiled once for all laws."""
    network = dataclasses.replace(SPECS[name], **changes).build(SHAPE)
    params = moved(network.init(jax.random.key(1)), 0.1, seed=9)
    if not isinstance(network, Embedding):
        return jax.jit(network.apply), params

    def told(params, x, label, tokens=TOKENS[0], **key):
        rows = jnp.broadcast_to(tokens, (len(x), 5))
        return network.apply(params, x, label, network.embed(params, rows), **key)

    return jax.jit(told), params


def test_every_network_is_tested_here():
    assert set(SPECS) == set(NETWORKS)


@pytest.mark.parametrize("name", SPECS)
def test_an_image_does_not_see_its_batch(name):
    apply, params = made(name)
    together = apply(params, X, LABEL)
    for i in range(3):
        alone = apply(params, X[i : i + 1], LABEL[i : i + 1])[0]
        np.testing.assert_allclose(alone, together[i], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_the_label_matters(name):
    apply, params = made(name)
    other = apply(params, X, LABEL + 100.0)
    assert np.abs(np.asarray(apply(params, X, LABEL) - other)).max() > 1e-3


QUICK = ("mlp", "dit", "ddpm")
"""Those whose layers are also the others', at a fraction of the time."""


@pytest.mark.parametrize("name", [n if n in QUICK else slow(n) for n in SPECS])
def test_bfloat16_is_near_and_tells_every_step_apart(name):
    """What lies between is rounded to 8 bits; a label is not, nor what comes out."""
    exact, params = made(name)
    apply, _ = made(name, compute="bfloat16")
    want, near = exact(params, X, LABEL), apply(params, X, LABEL)
    assert near.dtype == jnp.float32
    off = np.std(near - want) / np.std(want)
    assert 1e-4 < off < 0.05
    # In bfloat16 998 and 999 would be one number, 1000.
    steps = [apply(params, X, jnp.full((3,), t)) for t in (998.0, 999.0)]
    assert np.abs(np.asarray(steps[0] - steps[1])).max() > 0.0
    network = SPECS[name].build(SHAPE)
    told = dataclasses.replace(SPECS[name], compute="bfloat16").build(SHAPE)
    assert computing(network.apply, "bfloat16") == told.apply
    assert computing(network.apply, "float32") == network.apply


def test_a_network_that_cannot_be_told_is_refused():
    with pytest.raises(UserError, match="cannot compute in bfloat16"):
        computing(lambda params, x, label, condition: x, "bfloat16")


@pytest.mark.parametrize("name", DROPS)
def test_dropout_is_the_keys_and_off_without_one(name):
    apply, params = made(name)
    plain, _ = made(name, dropout=0.0)
    keys = jax.random.split(jax.random.key(5))
    first, again, other = (
        np.asarray(apply(params, X, LABEL, dropout_key=k)) for k in (*keys[:1], *keys)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    np.testing.assert_array_equal(apply(params, X, LABEL), plain(params, X, LABEL))


def test_dropout_keeps_the_mean_and_drops_its_rate():
    x = jnp.ones((400, 400))
    y = np.asarray(Dropout(0.3, jax.random.key(0))(x))
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert y.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", sorted(SPECS.keys() - set(LABELLED)))
def test_a_text_matters_and_its_padding_does_not(name):
    apply, params = made(name)
    of = [np.asarray(apply(params, X, LABEL, tokens)) for tokens in TOKENS]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(of[i] - of[j]).max() > 1e-3
    network = SPECS[name].build(SHAPE)
    with pytest.raises(UserError, match="got no"):
        network.apply(params, X, LABEL)
    if name == "captioned":
        changed = jax.tree.map(jnp.copy, params)
        changed["text"]["words"] = changed["text"]["words"].at[0].add(1.0)
        np.testing.assert_allclose(apply(changed, X, LABEL), of[0], atol=1e-6)


@pytest.mark.parametrize("name", LABELLED)
def test_classes_are_needed_and_matter(name):
    apply, params = made(name, classes=4)
    of = [apply(params, X, LABEL, jnp.full((3,), c)) for c in (0, 3)]
    assert np.abs(np.asarray(of[0] - of[1])).max() > 1e-3
    with pytest.raises(UserError, match="got no class labels"):
        apply(params, X, LABEL)
    apply, params = made(name)
    with pytest.raises(UserError, match="has no classes"):
        apply(params, X, LABEL, jnp.zeros((3,), jnp.int32))


@pytest.mark.parametrize("name", ["ddpm", "ncsnpp"])
def test_both_forms_of_convolution_are_the_same_function(name):
    direct, params = made(name)
    patches, _ = made(name, convolution="patches")
    want = direct(params, X, LABEL)
    np.testing.assert_allclose(patches(params, X, LABEL), want, rtol=2e-4, atol=2e-5)


def test_fresh_networks_are_the_keys_and_predict_almost_nothing():
    network = SPECS["ddpm"].build(SHAPE)
    one, same, other = (network.init(jax.random.key(k)) for k in (0, 0, 1))
    equal = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), one, same)
    assert jax.tree.all(equal)
    differ = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), one, other)
    assert not jax.tree.all(differ)
    assert np.abs(np.asarray(network.apply(one, X, LABEL))).max() < 1e-3


def test_weights_have_the_published_variance():
    """Uniform, variance 1 / mean(fan in, fan out) (Ho et al. 2020)."""
    numbers = jax.random.uniform(jax.random.key(0), (9 * 32 * 96,), minval=-1.0)
    w = np.asarray(Draws(numbers).scaled((3, 3, 32, 96)))
    assert w.var() == pytest.approx(2 / (9 * 32 + 9 * 96), rel=0.03)


@pytest.mark.parametrize("groups", [1, 4, 16])
def test_group_norm_is_flaxs(groups):
    ours = GroupNorm(16, groups)
    theirs = nnx.GroupNorm(16, groups, epsilon=1e-6, rngs=nnx.Rngs(0))
    x = 3.0 + 2.0 * jax.random.normal(jax.random.key(2), (2, 4, 4, 16))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_what_does_not_fit_is_refused(name):
    network = SPECS[name].build(SHAPE)
    params = network.init(jax.random.key(0))
    with pytest.raises(UserError, match="do not fit the network's"):
        network.apply(params, X[:, :4], LABEL)
    with pytest.raises(UserError, match="are not those of this network"):
        network.apply({"w": X}, X, LABEL)
    with pytest.raises(UserError, match="image shape"):
        SPECS[name].build((8, 8))


@pytest.mark.parametrize("cls", [DDPMNet, NCSNpp])
def test_shapes_that_levels_cannot_halve_are_refused(cls):
    with pytest.raises(UserError, match="not divisible by 2"):
        cls(**UNET, groups=4).build((7, 8, 1))
    with pytest.raises(UserError, match="attention at 4"):
        cls(**UNET, groups=4).build((32, 32, 1))


def test_the_papers_networks_have_the_authors_number_of_parameters():
    path = Path(__file__).parents[1] / "golden" / "networks_paper_counts.npz"
    with np.load(path) as file:
        counts = {k: int(v) for k, v in file.items()}
    common = {"features": 128, "multipliers": (1, 2, 2, 2), "attention": (16,)}
    specs = {
        "ddpm": DDPMNet(**common, blocks=2),
        "ncsnpp": NCSNpp(**common, blocks=4, fir=False),
    }
    assert set(counts) == set(specs)
    for name, spec in specs.items():
        shapes = jax.eval_shape(spec.build((64, 64, 3)).init, jax.random.key(0))
        size = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes))
        assert size == counts[name], name
