"""Copies among samples: closed forms, what tiles and orders change, honest numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.copies import Copying, Neighbours, neighbours, summary


def pixels(*values):
    """Images of one pixel."""
    return np.asarray(values, np.uint8).reshape(-1, 1, 1, 1)


def search(samples, images, count=50, ids=None, **rest):
    ids = np.arange(len(images)) if ids is None else ids
    return neighbours(samples, ids, images.__getitem__, count, **rest)


def judged(samples, members, others, setting=None):
    """The samples against both groups, whose images have different ids."""
    images = np.concatenate((members, others))
    ids = np.split(np.arange(len(images)), [len(members)])
    return summary(*(search(samples, images, ids=i) for i in ids), setting or Copying())


def noise(n, seed=0, shape=(4, 4, 1)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def equal(a: Neighbours, b: Neighbours):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_line_of_points_in_closed_form():
    images = pixels(0, 10, 20, 30, 200)
    near = search(pixels(12, 200, 255), images, 3)
    assert near.index.tolist() == [1, 4, 4]
    assert (near.used, near.among) == (3, 5)
    np.testing.assert_allclose(255 * near.nearest, [2, 0, 55])
    # 12 has 2, 8 and 12 to its neighbours; 200 has 0, 170, 180; 255 has 55, 225, 235.
    mean = np.array([22, 350, 515]) / 3
    np.testing.assert_allclose(255 * near.mean, mean)
    expected = np.array([2, 0, 55]) / (0.5 * mean)
    np.testing.assert_allclose(near.relative(0.5), expected)
    found = summary(near, near, Copying(neighbours=3))
    assert (found.members.copies, found.members.copied) == (3, 2)
    strict = summary(near, near, Copying(neighbours=3, threshold=0.6))
    assert (strict.members.copies, strict.members.copied) == (2, 2)
    assert summary(near, near, Copying(alpha=0.1)).members.copies == 1


def test_distances_are_those_of_pixels_from_0_to_1():
    samples, images = noise(5), noise(70, 1)
    near = search(samples, images)
    apart = (samples[:, None] / 255 - images[None] / 255) ** 2
    every = np.sqrt(apart.mean((2, 3, 4)))
    np.testing.assert_array_equal(near.index, every.argmin(1))
    np.testing.assert_allclose(near.nearest, every.min(1))
    np.testing.assert_allclose(near.mean, np.sort(every)[:, :50].mean(1))


@pytest.mark.parametrize("tile", [(1, 1), (3, 7), (1000, 11), (2, 1000)])
def test_tiles_change_no_bit(tile):
    samples, images = noise(9), noise(60, 1)
    assert equal(search(samples, images), search(samples, images, tile=tile))


def test_the_order_of_images_changes_no_bit():
    # Each image stands there three times: of the copies the smallest id is named.
    samples, images = noise(9), np.tile(noise(30, 1), (3, 1, 1, 1))
    ids = np.random.default_rng(2).permutation(len(images))
    one = search(samples, images, tile=(4, 13))
    assert equal(one, search(samples, images, ids=ids, tile=(4, 13)))
    assert one.index.max() < 30


def test_the_order_of_samples_changes_no_number():
    samples, order = noise(40), np.random.default_rng(3).permutation(40)
    groups = noise(60, 1), noise(50, 2)
    assert judged(samples, *groups) == judged(samples[order], *groups)


def test_the_order_of_members_and_non_members_changes_no_number():
    samples, images = noise(40), noise(110, 1)
    ids = np.random.default_rng(4).permutation(110)
    one = [search(samples, images, ids=np.arange(*r)) for r in ((0, 60), (60, 110))]
    back = np.argsort(ids)
    other = [search(samples, images[ids], ids=back[r]) for r in
             (slice(0, 60), slice(60, 110))]  # fmt: skip
    assert summary(*one, Copying()) == summary(*other, Copying())


def test_a_generator_that_repeats_its_images_is_told():
    members, others = noise(40), noise(60, 1)
    samples = members[np.random.default_rng(0).integers(0, 40, 100)]
    near = judged(samples, members, others)
    assert near.members.rate.value == 1
    assert near.members.rate.low == pytest.approx(0.025 ** (1 / 100))
    assert (near.members.copied, near.members.least, near.members.median) == (
        len(np.unique(samples, axis=0)),
        0,
        0,
    )
    assert near.nonmembers.rate.value == 0
    assert near.nearer.share.value == 1
    assert near.nearer.expected == 0.4
    assert near.nearer.p_value == 1e-4


def test_a_generator_that_repeats_nothing_is_not_accused():
    # In few dimensions, where no image is the nearest to a large part of all.
    samples = noise(400, shape=(1, 3, 1))
    members = noise(3000, 1, (1, 3, 1))
    others = noise(2000, 2, (1, 3, 1))
    found = judged(samples, members, others)
    # There the nearest image is mostly twice as near as its neighbours: so it is among
    # images that cannot have been copied, and the control says so.
    inside, outside = found.members.rate, found.nonmembers.rate
    assert min(inside.value, outside.value) > 0.9
    assert inside.low < outside.high
    assert outside.low < inside.high
    near = found.nearer
    assert near.expected == 0.6
    assert near.share.low < near.expected < near.share.high
    assert near.p_value > 0.05


def test_independent_images_are_no_near_copies():
    found = judged(noise(50), noise(300, 1), noise(300, 2))
    for group in (found.members, found.nonmembers):
        assert (group.rate.value, group.rate.low) == (0, 0)
        assert group.rate.high == pytest.approx(1 - 0.025 ** (1 / 50))


def test_chance_is_the_hypergeometric_law_where_each_image_is_met_once():
    members, others = pixels(*range(0, 100, 10)), pixels(*range(105, 255, 10))
    # Eight samples, six of them next to members, each to an image of its own.
    samples = pixels(1, 11, 21, 31, 41, 51, 126, 146)
    near = judged(samples, members, others).nearer
    assert (near.samples, near.images) == (8, 8)
    expected = stats.hypergeom(len(members) + len(others), len(members), 8).sf(5)
    assert near.p_value == pytest.approx(expected, abs=0.01)


def test_a_thousand_samples_of_one_image_are_one_piece_of_evidence():
    members, others = noise(30), noise(30, 1)
    samples = np.repeat(members[:1], 1000, axis=0)
    found = judged(samples, members, others)
    assert found.nearer.images == 1
    assert found.nearer.p_value == pytest.approx(0.5, abs=0.03)
    # The copies themselves are seen all the same.
    assert (found.members.copies, found.members.copied) == (1000, 1)


def test_random_memberships_give_uniform_p_values():
    """Honest where a few images are next to most samples, as in many dimensions."""
    random = np.random.default_rng(5)
    images = random.normal(128, 40, (60, 40))
    images[:3] = random.normal(128, 3, (3, 40))  # near to everything
    images = images.clip(0, 255).astype(np.uint8).reshape(-1, 1, 40, 1)
    samples = random.normal(128, 30, (80, 40)).clip(0, 255).astype(np.uint8)
    samples = samples.reshape(-1, 1, 40, 1)
    values, outside = [], 0
    for _ in range(200):
        ids = random.permutation(60)
        groups = (search(samples, images, 5, ids=i) for i in (ids[:30], ids[30:]))
        near = summary(*groups, Copying(neighbours=5)).nearer
        values.append(near.p_value)
        outside += not near.share.low <= near.expected <= near.share.high
    # Samples next to one image are one observation: a binomial interval of all of them
    # misses the expected share more than 40 times.
    assert outside <= 14
    assert np.mean(np.asarray(values) <= 0.05) <= 0.08
    assert np.mean(np.asarray(values) <= 0.2) <= 0.26


def test_ties_are_left_out_and_counted():
    members, others = pixels(0, 100), pixels(0, 200)
    samples = pixels(1, 99, 101, 150)
    near = judged(samples, members, others).nearer
    assert (near.ties, near.samples) == (2, 2)
    assert near.share.value == 1
    same = judged(samples, members, members)
    assert same.nearer is None


def test_few_images_give_fewer_neighbours():
    near = search(noise(3), noise(4, 1))
    assert (near.used, near.among) == (4, 4)
    one = search(noise(3), noise(1, 1))
    # A lone image is as far as its own mean: no copy, unless it is repeated exactly.
    np.testing.assert_allclose(one.relative(0.5), 2)
    found = summary(one, None, Copying())
    assert (found.members.copies, found.nonmembers, found.nearer) == (0, None, None)


def test_images_that_are_all_the_same_are_copies_of_themselves():
    grey = np.full((60, 2, 2, 1), 7, np.uint8)
    assert search(grey[:2], grey).relative(0.5).tolist() == [0, 0]


def test_wrong_images_and_settings_are_refused():
    with pytest.raises(UserError, match="there are no images"):
        search(noise(3), noise(0))
    with pytest.raises(UserError, match="held against samples of shape"):
        search(noise(3), noise(3, 1, (5, 5, 1)))
    for field, value in (("alpha", 0), ("neighbours", 1), ("threshold", -1)):
        with pytest.raises(UserError, match=f"copies.{field}"):
            dataclasses.replace(Copying(), **{field: value})
