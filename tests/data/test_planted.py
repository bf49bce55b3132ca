"""What is planted is told: a shift of the groups, and members that repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits

from score_mia.data import near, sanitise
from score_mia.data.sanitise import blind_features, near_duplicates, repeats
from score_mia.data.split import Split
from score_mia.metrics.means import differ
from score_mia.metrics.roc import auc
from score_mia.report.controls import ALARM, rows, warnings
from score_mia.results import AuditResult, Blind, Controls, Estimate, Repeats
from score_mia.typed import from_json
from tests.data.makers import pictures, source_of
from tests.defects.test_a03_blind_interval import faces

BAYES = 0.6
OFFSET = np.sqrt(2) * stats.norm.ppf(BAYES)
"""Of two normal laws, in standard deviations: AUC = Phi(offset / sqrt(2))."""
N = 400


def lit(seed, offset, side=12):
    """Smooth pictures [2N, side, side, 1], the first N brighter by so many deviations.

    Their brightness is normal and independent of all else, which is alike in both: no
    classifier tells them apart better than the brightness does.
    """
    rng = np.random.default_rng([11, seed])
    x = 0.2 * gaussian_filter(rng.normal(size=(2 * N, side, side, 1)), (0, 1, 1, 0))
    x -= x.mean(axis=(1, 2, 3), keepdims=True)
    brightness = rng.normal(size=2 * N) + offset * (np.arange(2 * N) < N)
    return (0.5 + x + 0.05 * brightness[:, None, None, None]).astype(np.float32)


def halves(source, members=N):
    """The split whose first images are the members."""
    n = len(source.ids)
    member = np.arange(n) < members
    return Split(source.ids, member, np.zeros(n, bool), source.digest)


def p_value(pixels, seed):
    """Of the blind control, as an audit makes it."""
    source = source_of(pixels)
    with threadpool_limits(1):  # on busy cores threads wait for each other
        features = blind_features(source, halves(source), seed=seed)
    return differ(features.matrix(), features.member, seed=seed)


def test_the_planted_shift_has_the_bayes_auc_that_it_claims():
    member = np.arange(2 * N) < N
    seen = [auc(lit(s, OFFSET).mean(axis=(1, 2, 3)), member) for s in range(10)]
    assert np.mean(seen) == pytest.approx(BAYES, abs=4 * 0.02 / np.sqrt(10))
    assert lit(0, OFFSET).min() > 0
    assert lit(0, OFFSET).max() < 1


def test_a_planted_shift_is_told_in_nine_of_ten_audits():
    found = [p_value(lit(seed, OFFSET), seed) for seed in range(10)]
    assert sum(p < ALARM for p in found) >= 9


def test_without_the_shift_the_alarm_is_as_seldom_as_its_level():
    found = np.array([p_value(lit(seed, 0.0), seed) for seed in range(30)])
    most = stats.binom.ppf(0.99, len(found), ALARM)
    assert np.sum(found <= ALARM) <= most
    assert stats.kstest(found, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_how_often_a_shift_is_told_and_how_often_none():
    for offset, least, most in ((OFFSET, 0.88, 1.0), (0.0, 0.0, 0.08)):
        found = np.array([p_value(lit(100 + s, offset), s) for s in range(300)])
        share = np.mean(found <= ALARM)
        print(f"offset {offset:.3f}: p <= {ALARM} in {share:.3f}")
        assert least <= share <= most


def test_the_statistic_sees_one_column_and_many():
    rng = np.random.default_rng(0)
    member = np.arange(600) < 300
    noise = rng.normal(size=(600, 60))
    one, many = noise.copy(), noise + 0.15 * member[:, None]
    one[member, 7] += 0.5
    assert differ(noise, member) > 0.05
    assert differ(one, member) == differ(one, ~member) == 1 / 1000
    assert differ(many, member) == 1 / 1000
    assert differ(one * 7 + 3, member) == 1 / 1000
    assert differ(np.ones((600, 2)), member) == 1.0


def test_a_small_p_value_is_told_where_the_classifier_sees_nothing():
    vague = Estimate(0.54, 0.48, 0.6)
    (line,) = warnings(Controls(Blind(vague, N, N, 0.001)))
    assert "(p = 0.001)" in line
    assert "the two groups differ by themselves" in line
    assert warnings(Controls(Blind(vague, N, N, 0.2))) == []


def test_repeated_members_are_named_as_what_can_give_the_groups_away():
    # Their copies stand in other folds, and are no independent images.
    repeated = Repeats(400, 400, 40, 10, 760, 10 / 255)
    blind = Blind(Estimate(0.72, 0.68, 0.76), 760, N, 0.001)
    _, line = warnings(Controls(blind, repeats=repeated))
    assert line.endswith("a copy gives its copies away.")
    (line,) = warnings(Controls(blind))
    assert "copies" not in line


# --- repeated members -----------------------------------------------------------------


def leaky(seed, times=10, share=0.1, noise=0.0):
    """A source whose first images are members, some so many times; its split."""
    rng = np.random.default_rng([12, seed])
    distinct = faces(2 * N, seed)
    planted = rng.choice(N, int(share * N), replace=False)
    copies = np.repeat(distinct[planted], times - 1, axis=0)
    copies = np.clip(copies + noise * rng.uniform(-1, 1, copies.shape), 0, 1)
    inside = np.concatenate([distinct[:N], copies])
    inside = inside[rng.permutation(len(inside))]
    source = source_of(np.concatenate([inside, distinct[N:]]).astype(np.float32))
    return source, halves(source, len(inside))


def typed(found):
    return from_json(Repeats, found.summary(), "repeats")


@pytest.mark.parametrize("noise", [0.0, 4 / 255])
def test_a_planted_leak_is_told_in_every_audit(noise):
    for seed in range(10):
        source, split = leaky(seed, noise=noise)
        # Nothing stands on both sides: the control of the border is blind to it.
        assert near_duplicates(source, split).summary()["pairs"] == 0
        found = typed(repeats(source, split.members))
        assert (found.images, found.groups, found.largest) == (400, 40, 10)
        assert found.members == len(split.members) == 760
        assert found.exact == (0 if noise else 400)
        (line,) = warnings(Controls(repeats=found))
        assert "400 of 760 members have a copy among the members" in line
        assert "the largest of 40 groups 10 images" in line
        said = "repeated images are memorised more; their members count more than once"
        assert said in line


def test_without_the_leak_there_is_none():
    for seed in range(10):
        source, split = leaky(seed, times=1)
        found = typed(repeats(source, split.members))
        assert found == Repeats(0, 0, 0, 0, N, 10 / 255)
        assert warnings(Controls(repeats=found)) == []
        shown = {r.name: r.text for r in rows(AuditResult())}
        assert shown["Repeated members"] == "not measured"
        result = AuditResult(controls=Controls(repeats=found))
        shown = {r.name: r.text for r in rows(result)}
        assert shown["Repeated members"] == "none, RMSE below 0.039"


def test_copies_on_both_sides_are_told_by_both_controls():
    x = pictures(20, 6)
    x[[3, 12, 15]] = x[1]
    source = source_of(x)
    split = halves(source, 10)
    assert near_duplicates(source, split).summary()["pairs"] == 4
    found = repeats(source, split.members)
    assert found.ids.tolist() == [1, 3]
    assert found.listed(source) == [{"members": [1, 3]}]


@given(st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**16))
def test_no_copy_is_missed_and_none_invented(side, channels, seed):
    rng = np.random.RandomState(seed)
    x = rng.randint(0, 256, (18, side, side, channels))
    for i in range(9):
        noise = rng.randint(-1, 2, x[i].shape) * rng.randint(0, 25)
        x[9 + i] = np.clip(x[rng.randint(9)] + noise, 0, 255)
    source = source_of(x.astype(np.uint8))
    threshold = float(rng.choice([0.0, 4 / 255, 10 / 255, 30 / 255]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sanitise, "_BLOCK", 5)
        patch.setattr(near, "BOX", 2)
        found = repeats(source, source.ids, threshold)
    images = source.images(source.ids).astype(np.float64)
    apart = np.sqrt(np.mean((images[:, None] - images[None]) ** 2, axis=(2, 3, 4)))
    close = ((apart < threshold) | (apart == 0)) & ~np.eye(18, dtype=bool)
    assert found.ids.tolist() == np.flatnonzero(close.any(axis=1)).tolist()
    same = (apart == 0) & ~np.eye(18, dtype=bool)
    assert found.exact.tolist() == same.any(axis=1)[found.ids].tolist()
    reach = np.linalg.matrix_power(close.astype(float) + np.eye(18), 18) > 0
    linked = found.group[:, None] == found.group[None]
    np.testing.assert_array_equal(linked, reach[np.ix_(found.ids, found.ids)])


def test_blank_members_end_the_search(monkeypatch):
    monkeypatch.setattr(sanitise, "MOST_PAIRS", 30)
    source = source_of(np.zeros((20, 2, 2, 1), np.uint8))
    found = typed(repeats(source, source.ids))
    assert not found.complete
    (line,) = warnings(Controls(repeats=found))
    assert line.startswith("At least ")
