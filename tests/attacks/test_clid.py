"""What a condition is worth, against its closed form, and what is cut off a caption."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia.attacks import Clid
from score_mia.attacks.clid import importance, shortened
from score_mia.attacks.draws import noise_at
from score_mia.attacks.protocol import identity
from score_mia.check import UserError
from score_mia.parameterisation import Noise
from score_mia.sde import VP
from score_mia.target import Target
from tests.helpers import ask
from tests.oracles import scales

IMAGE = jnp.asarray(np.random.default_rng(2).random((2, 2, 1), np.float32))
KEY = jax.random.key(3)
SHARES = np.asarray([0.25, 0.5, 0.75, 1.0], np.float32)


def network(params, x, label, condition):
    """eps = share std x of data N(0, I): the more, the more words it is told."""
    words = jnp.atleast_2d((condition > 1).T).T.sum(axis=1)
    share = params["shares"][jnp.minimum(words, 3)] * jax.vmap(VP().std)(label)
    return share[:, None, None, None] * x


TARGET = Target({"shares": jnp.asarray(SHARES)}, VP(), Noise(), network)


def test_of_a_standard_normal_half_of_which_is_told():
    """L = mean (z - g std (alpha x + std z))^2 of each condition, with one z."""
    signal = Clid(times=(0.2, 0.5), cuts=(0.3, 0.6), draws=2)
    own, nothing = jnp.asarray([5, 6, 7, 0, 0]), jnp.zeros(5, jnp.int32)
    x = np.asarray(TARGET.codec.encode(IMAGE), np.float64)
    losses = np.zeros((4, 2))
    for k, t in enumerate(signal.at(VP())):
        alpha, std = scales(VP(), t)
        z = np.asarray(
            [noise_at(KEY, r, jnp.float32(t), x.shape) for r in range(2)], np.float64
        )
        for words in range(4):
            away = z - SHARES[words] * std * (alpha * x + std * z)
            losses[words, k] = np.mean(away**2)
    # A third is cut off, then two, then all.
    exact = [*(losses[[2, 1, 0]] - losses[3]), -losses[3]]
    found = jax.jit(ask, static_argnums=0)(signal, TARGET, IMAGE, KEY, own, nothing)
    np.testing.assert_allclose(found, [*np.ravel(exact), 16.0], rtol=1e-4, atol=1e-6)
    columns = signal.columns(TARGET.denoiser)
    assert columns.names[::2] == (
        *("clid-1@0.2000", "clid-2@0.2000", "clid-null@0.2000", "loss@0.2000"),
    )
    assert columns.evaluations == 16


def test_a_caption_is_cut_from_its_end():
    """CLIP's rows: begin 8, the caption, end 9, then padding of either kind."""
    for pad in (9, 0):
        own = jnp.asarray([8, 1, 2, 3, 4, 9, pad, pad])
        nothing = jnp.asarray([8, 9, *[pad] * 6])
        found = shortened(own, nothing, 0.5)
        np.testing.assert_array_equal(found, [8, 1, 2, pad, pad, 9, pad, pad])
        np.testing.assert_array_equal(shortened(nothing, nothing, 0.5), nothing)


@pytest.mark.parametrize(
    ("share", "count", "cut"),
    [(0.3, 50, 15), (0.6, 25, 15), (0.6, 45, 27), (0.3, 7, 3)],
)
def test_a_share_that_is_a_whole_number_of_tokens_is_cut_to_it(share, count, cut):
    own = jnp.asarray([8, *[1] * count, 9])
    nothing = jnp.asarray([8, 9, *[0] * count])
    found = shortened(own, nothing, share)
    assert np.count_nonzero(np.asarray(found) == 1) == count - cut


WEIGHTS = np.asarray([0.0, 0.0, 3.0, 1.0, 2.0, 2.0], np.float32)
"""What each token adds to the embedding of a caption, which is their sum."""


def heard(params, tokens):
    return jnp.asarray(WEIGHTS)[tokens].sum(axis=1, keepdims=True)


HEARING = dataclasses.replace(
    TARGET, embed=heard, apply=lambda params, x, label, told: x * told[:, :, None, None]
)


def test_the_important_words_go_first():
    own, nothing = jnp.asarray([1, 3, 4, 2, 5, 0]), jnp.asarray([1, 0, 0, 0, 0, 0])
    weights = importance(HEARING.denoiser, own, nothing)
    np.testing.assert_allclose(weights, [0, 1, 4, 9, 4, 0])
    for share, left in ((0.2, [1, 3, 4, 0, 5, 0]), (0.5, [1, 3, 4, 0, 0, 0])):
        found = shortened(own, nothing, share, weights)
        np.testing.assert_array_equal(found, left)


def test_what_goes_first_decides_what_is_measured():
    own, nothing = jnp.asarray([2, 3, 4, 5]), jnp.zeros(4, jnp.int32)
    end, important = (
        jax.jit(ask, static_argnums=0)(
            Clid((0.3,), cuts=(0.25,), order=order), HEARING, IMAGE, KEY, own, nothing
        )
        for order in ("end", "importance")
    )
    assert end[0] != pytest.approx(float(important[0]))  # 5 is gone, or 2
    np.testing.assert_allclose(end[1:], important[1:], rtol=1e-5)
    same = Clid((0.3,), cuts=(0.25,))
    assert identity(same) == identity(dataclasses.replace(same, order="end"))
    assert "order" not in identity(same)  # numbers that are kept stay its own


def test_a_network_that_embeds_nothing_knows_no_important_words():
    signal = Clid(cuts=(0.5,), order="importance")
    own = jnp.asarray([5, 6, 7, 0])
    with pytest.raises(UserError, match="embeds no captions by itself"):
        ask(signal, TARGET, IMAGE, KEY, own, jnp.zeros(4, jnp.int32))


@pytest.mark.parametrize(
    ("signal", "own", "nothing", "said"),
    [
        (Clid(), None, None, "is told nothing"),
        (Clid(), jnp.int32(2), None, "has no condition for nothing"),
        (Clid(cuts=(0.5,)), jnp.int32(2), jnp.int32(0), "told no tokens"),
    ],
)
def test_models_that_are_not_told_enough_are_refused(signal, own, nothing, said):
    with pytest.raises(UserError, match=said):
        ask(signal, TARGET, IMAGE, KEY, own, nothing)


@pytest.mark.parametrize("cuts", [(0.0,), (1.0,), (0.6, 0.3)])
def test_cuts_that_cannot_be_are_refused(cuts):
    with pytest.raises(UserError, match="growing shares of a caption"):
        Clid(cuts=cuts)
