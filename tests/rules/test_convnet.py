"""The convolutional head: what it sees that no column tells, and how it is trained."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from score_mia.check import UserError
from score_mia.heads.convnet import Convnet, _forward, _fresh
from score_mia.heads.training import State, descended, normed, seen_in
from score_mia.metrics.roc import auc
from score_mia.readings import Evidence, Readings, joined, pixel_names, pixel_places
from score_mia.rules import Ridge
from score_mia.rules.scheme import CrossFit, Known

SHAPE = (8, 8, 1)
NAMES = pixel_names("secmi@100", SHAPE)
SMALL = Convnet(widths=(8,), epochs=8, batch=32, learning_rate=0.05)
CROSS = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)])


def differences(seed, n=320):
    """Minus the differences: five bright pixels each, a member's in a cross.

    The cross lies anywhere (the image goes on at its edges), so each pixel by itself,
    and the sum of all, has the same law in both classes.
    """
    rng = np.random.default_rng(seed)
    member = np.arange(n) % 2 == 0
    images = 0.1 * rng.random((n, 8, 8))
    for image, own in zip(images, member, strict=True):
        spots = rng.integers(0, 8, 2) + CROSS
        if not own:
            spots = np.stack(np.unravel_index(rng.permutation(64)[:5], (8, 8)), 1)
        image[tuple(spots.T % 8)] += 1.0
    return Evidence(Readings.of(-images.reshape(n, 64), np.arange(n), NAMES, member))


def judged(rule, known, asked):
    return auc(rule.fit(known)(asked.unlabelled()), asked.target.member)


def test_finds_a_pattern_that_no_column_and_no_mean_tells():
    known, asked = differences(0), differences(1, 160)
    assert judged(SMALL, known, asked) > 0.95
    assert abs(judged(Ridge(), known, asked) - 0.5) < 0.12
    means = asked.target.matrix().mean(axis=1)
    assert abs(auc(means, asked.target.member) - 0.5) < 0.12


def test_sees_how_large_the_difference_is():
    """Which is all that the papers' other heads see, and a norm of an image hides."""

    def scaled(evidence):
        rows, rng = evidence.target, np.random.default_rng(len(evidence.target))
        size = np.where(rows.member, 0.8, 1.0) * rng.uniform(0.9, 1.1, len(rows))
        values = -size[:, None] * rng.random((len(rows), 64))
        return Evidence(Readings.of(values, rows.ids, NAMES, rows.member))

    known, asked = scaled(differences(0)), scaled(differences(1, 160))
    assert judged(SMALL, known, asked) > 0.9


def test_the_seed_decides_everything():
    known, asked = differences(0, 40), differences(1, 40)
    rule = dataclasses.replace(SMALL, epochs=2, batch=16)
    first = rule.fit(known)(asked)
    np.testing.assert_array_equal(rule.fit(known)(asked), first)
    other = dataclasses.replace(rule, seed=1).fit(known)(asked)
    assert not np.allclose(other, first)


def test_places_pixels_by_their_names():
    known, asked = differences(0, 40), differences(1, 40)
    rule = dataclasses.replace(SMALL, epochs=2, batch=16)
    order = np.random.default_rng(2).permutation(64)

    def turned(evidence):
        rows = evidence.target
        names = [rows.names[k] for k in order]
        made = Readings.of(rows.matrix()[:, order], rows.ids, names, rows.member)
        return Evidence(made)

    scores = rule.fit(turned(known))(turned(asked))
    np.testing.assert_array_equal(scores, rule.fit(known)(asked))
    told = dataclasses.replace(rule, shape=SHAPE).fit(known)(asked)
    np.testing.assert_array_equal(told, rule.fit(known)(asked))


def test_its_steps_are_those_of_stochastic_gradient_descent_to_the_last():
    """A parabola, by hand: gradient and decay, then momentum, then the step."""
    rate, momentum, decay, steps = 0.1, 0.9, 0.01, 7
    optimiser = optax.chain(optax.add_decayed_weights(decay), optax.sgd(rate, momentum))

    def loss(x, number):
        return 0.5 * (x - 3.0) ** 2, jnp.float32(number)

    begin = jnp.float32(1.0)
    start = State(begin, jnp.float32(0.0), optimiser.init(begin))
    end = jax.jit(lambda: descended(loss, optimiser, start, steps))()
    x, speed, seen = 1.0, 0.0, 0.0
    for number in range(1, steps + 1):
        speed = momentum * speed + (x - 3.0) + decay * x
        x, seen = x - rate * speed, seen + 0.1 * (number - seen)
    np.testing.assert_allclose(end.learned, x, rtol=1e-5)
    np.testing.assert_allclose(end.seen, seen, rtol=1e-5)


def test_a_batch_norm_normalises_a_batch():
    x = jnp.asarray(np.random.default_rng(0).normal(3, 2, (4, 5, 5, 2)), jnp.float32)
    here, running = seen_in(x)
    ones = jnp.ones(2)
    made = np.asarray(normed(x, here, 2 * ones, ones))
    np.testing.assert_allclose(made.mean((0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(made.std((0, 1, 2)), 2, rtol=1e-4)
    unbiased = np.asarray(x).var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(running.variance, unbiased, rtol=1e-5)


def test_one_step_is_judged_by_what_it_saw():
    """Running statistics begin at nothing, and nothing of that is left in them."""
    known = differences(0, 32)
    rule = dataclasses.replace(SMALL, epochs=1, batch=32, learning_rate=1e-9)
    scorer = rule.fit(known)
    net = _fresh(rule, 1, jax.random.split(jax.random.key(0))[0])
    rows = scorer.standard(known.target.matrix(scorer.columns))
    images = jnp.asarray(rows.reshape(32, *SHAPE), jnp.float32)
    raw, _ = _forward(rule, net, images)
    # Variances differ by the factor n / (n - 1), and by nothing else.
    np.testing.assert_allclose(scorer(known), raw, atol=2e-3)


def test_at_its_largest_it_is_a_resnet_18():
    """11,173,962 parameters for three channels and ten classes; 4,617 less for one."""
    rule = Convnet(widths=(64, 128, 256, 512), blocks=2)
    net = jax.eval_shape(lambda: _fresh(rule, 3, jax.random.key(0)))
    assert sum(leaf.size for leaf in jax.tree.leaves(net)) == 11_173_962 - 9 * 513
    x = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    found, seen = jax.eval_shape(lambda n, x: _forward(rule, n, x), net, x)
    assert found.shape == (2,)
    assert len(seen) == 20


def test_shows_all_images_in_batches_of_one_size():
    rule = Convnet(batch=128, epochs=15)
    assert rule.steps(10_000) == 1_185
    assert rule.steps(130) == 30  # 2 batches of 65
    assert rule.steps(20) == 15


def test_cross_fits_like_any_rule():
    rows = differences(0, 60)
    known = Known(rows.unlabelled(), rows.target.member, np.zeros(60, bool))
    rule = dataclasses.replace(SMALL, widths=(2,), epochs=1)
    scored = CrossFit(folds=2, permutations=2).score(rule, known)
    assert np.isfinite(scored.scores).all()
    assert len(scored.scorer.columns) == 64


def test_images_of_several_signals_are_channels_of_one():
    one, two = (differences(seed, 8).target for seed in (0, 1))
    both = joined({"b": one, "a": two})
    places = pixel_places(both.names)
    assert places.shape == (8, 8, 2)
    assert both.names[places[3, 4, 0]] == "a/secmi@100/3,4,0"
    assert both.names[places[3, 4, 1]] == "b/secmi@100/3,4,0"


def test_names_of_pixels_are_sorted_as_arrays_are():
    names = pixel_names("d", (11, 2, 3))
    assert names[:4] == ("d/00,0,0", "d/00,0,1", "d/00,0,2", "d/00,1,0")
    assert list(names) == sorted(names)
    places = pixel_places(names)
    np.testing.assert_array_equal(places.ravel(), np.arange(66))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("loss@3", "loss@4"), "is no pixel's; give the signal pixels="),
        (NAMES[:-1], "has 63 pixels"),
        ((*NAMES, "d/0,0,0"), r"are of sizes \[\(1, 1\), \(8, 8\)\]"),
    ],
)
def test_columns_that_are_no_image_are_refused(names, said):
    rows = Readings.of(np.zeros((8, len(names))), np.arange(8), names, np.arange(8) < 4)
    with pytest.raises(UserError, match=said):
        SMALL.fit(Evidence(rows))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"widths": ()}, "is empty"),
        ({"widths": (0,)}, "below 1"),
        ({"blocks": 0}, "below 1"),
        ({"momentum": 1.0}, "outside"),
        ({"decay": -1.0}, "below 0"),
        ({"batch": 1}, "below 2"),
        ({"epochs": 0}, "below 1"),
        ({"shape": (0, 4, 1)}, "is no"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Convnet(**fields)


def test_a_shape_of_other_columns_is_refused():
    rule = dataclasses.replace(SMALL, shape=(4, 4, 1))
    with pytest.raises(UserError, match="no shape of 64 columns"):
        rule.fit(differences(0, 8))
