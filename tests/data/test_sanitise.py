from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_mia.check import UserError
from score_mia.data import near, sanitise
from score_mia.data.sanitise import blind_features, near_duplicates
from score_mia.data.split import shuffled
from tests.data.makers import pictures, source_of


def brute_force(source, split, threshold):
    pairs = set()
    for a in split.members:
        for b in split.nonmembers:
            x, y = source.images(np.asarray([a, b])).astype(np.float64)
            distance = np.sqrt(np.mean((x - y) ** 2))
            if distance < threshold or distance == 0:
                pairs.add((int(a), int(b)))
    return pairs


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.integers(0, 2**16),
)
def test_no_pair_is_missed_and_none_invented(h, w, c, seed):
    generator = np.random.RandomState(seed)
    x = generator.randint(0, 256, (24, h, w, c))
    for i in range(12):  # the later ones repeat the earlier ones, more or less
        noise = generator.randint(-1, 2, x[i].shape) * generator.randint(0, 25)
        x[12 + i] = np.clip(x[i] + noise, 0, 255)
    source = source_of(x.astype(np.uint8))
    split = shuffled(source, 10, seed=seed)
    threshold = generator.choice([0.0, 4 / 255, 10 / 255, 30 / 255])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sanitise, "_BLOCK", 7)
        patch.setattr(near, "BOX", 3)
        found = near_duplicates(source, split, float(threshold))
    pairs = list(zip(found.members.tolist(), found.nonmembers.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == brute_force(source, split, threshold)


def planted():
    x = pictures(20, 6)
    x[15] = x[3]
    x[16] = np.clip(x[4].astype(int) + 5, 0, 255)
    source = source_of(x)
    split = shuffled(source, 10)
    member = np.arange(20) < 10
    return source, type(split)(
        source.ids, member, np.zeros(20, bool), source.digest, split.recipe
    )


def test_counts_of_what_repeats():
    source, split = planted()
    found = near_duplicates(source, split)
    assert found.summary() == {
        "threshold": 10 / 255,
        "pairs": 2,
        "exact_pairs": 1,
        "members": 2,
        "nonmembers": 2,
    }


@pytest.mark.parametrize(
    ("most", "pairs", "complete"), [(50, 50, False), (100, 100, True)]
)
def test_blank_images_are_not_listed_by_the_million(monkeypatch, most, pairs, complete):
    monkeypatch.setattr(sanitise, "MOST_PAIRS", most)
    source = source_of(np.zeros((20, 2, 2, 1), np.uint8))
    found = near_duplicates(source, shuffled(source, 10))
    assert found.complete is complete
    assert found.summary().get("complete", True) is complete
    assert found.summary()["exact_pairs"] == pairs


def test_the_blind_features_are_components_and_their_squares():
    source = source_of(pictures(30, 4, 1))
    record = blind_features(source, shuffled(source, 10), components=3)
    assert record.names == (
        *("pc@0", "pc@1", "pc@2"),
        *("pc@0 squared", "pc@1 squared", "pc@2 squared"),
    )
    values = record.matrix()
    np.testing.assert_allclose(values[:, :3] ** 2, values[:, 3:])
    np.testing.assert_allclose(values[:, :3].mean(0), 0, atol=1e-5)
    # Made without a look at who is a member.
    other = blind_features(source, shuffled(source, 20), components=3)
    np.testing.assert_allclose(values, other.matrix(), atol=1e-4)


def test_blind_limits_each_class_and_repeats_itself():
    source = source_of(pictures(60, 4, 1))
    split = shuffled(source, 10)
    record = blind_features(source, split, limit=20)
    assert (np.sum(record.member), np.sum(~record.member)) == (10, 20)
    assert np.all(np.isin(record.ids[record.member], split.members))
    again = blind_features(source, split, limit=20)
    np.testing.assert_array_equal(record.ids, again.ids)
    np.testing.assert_array_equal(record.member, again.member)
    np.testing.assert_array_equal(record.matrix(), again.matrix())


def test_both_checks_refuse_another_source():
    _, split = planted()
    other = source_of(pictures(20, 6, seed=1))
    for check in (near_duplicates, blind_features):
        with pytest.raises(UserError, match=r"images .*have changed"):
            check(other, split)


def test_blind_needs_two_of_each_class():
    source = source_of(pictures(6))
    with pytest.raises(UserError, match="a class has 1 image"):
        blind_features(source, shuffled(source, 1))
