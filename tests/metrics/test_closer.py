"""Which group samples are nearer to as a set: closed forms, size, power, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import polynomial_kernel

from score_mia.check import UserError
from score_mia.metrics.image import closer, kid


def normal(n, seed, d=3, mean=0.0):
    return mean + np.random.default_rng(seed).normal(size=(n, d))


def mmd(a, b):
    """The unbiased squared distance of the kernel (x.y / d + 1)^3, by sklearn."""
    own = [polynomial_kernel(x, degree=3, coef0=1) for x in (a, b)]
    apart = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in own]
    return sum(apart) - 2 * polynomial_kernel(a, b, degree=3, coef0=1).mean()


def test_the_difference_is_that_of_two_distances():
    samples, members, others = normal(9, 0), normal(7, 1, mean=0.3), normal(11, 2)
    found = closer(samples, members, others, trials=0).difference
    exact = mmd(samples, others) - mmd(samples, members)
    assert found.value == pytest.approx(exact, rel=1e-9)
    apart = kid(samples, others).value - kid(samples, members).value
    assert found.value == pytest.approx(apart, rel=1e-9)
    assert (found.n, found.features) == ((7, 11), 3)
    assert found.low < found.value < found.high
    turned = closer(samples, others, members, trials=0).difference
    assert turned.value == pytest.approx(-exact, rel=1e-9)


def test_the_p_value_is_the_permutation_test_of_scipy():
    samples, members, others = normal(30, 0, 2), normal(8, 1, 2), normal(9, 2, 2)
    images = np.concatenate([members, others])

    def statistic(a, b):
        return mmd(samples, images[b]) - mmd(samples, images[a])

    exact = stats.permutation_test(
        (np.arange(8), np.arange(8, 17)),
        statistic,
        n_resamples=400,
        alternative="greater",
        vectorized=False,
        rng=np.random.default_rng(1),
    )
    found = closer(samples, members, others, trials=0)
    assert found.p_value == pytest.approx(exact.pvalue, abs=0.09)


def test_a_model_that_keeps_the_law_of_its_members_and_no_image_is_found():
    """It draws from a normal law with the mean and the spread of its members."""
    members, others = normal(40, 3, d=20), normal(40, 4, d=20)
    spread = np.cov(members.T)
    rng = np.random.default_rng(5)
    samples = rng.multivariate_normal(members.mean(axis=0), spread, 2000)
    found = closer(samples, members, others)
    assert found.p_value < 0.01
    assert found.difference.value > 0
    copies = members[rng.integers(0, 40, 400)] + 0.1 * rng.normal(size=(400, 20))
    assert closer(copies, members, others).p_value < 0.01
    assert closer(copies, others, members).p_value > 0.9


def test_non_members_are_accused_as_often_as_alpha_says():
    found = closer(normal(50, 0), normal(30, 1), normal(60, 2), trials=200)
    low, high = stats.binom.interval(0.998, 200, 0.05)
    assert (found.trials, found.alpha) == (200, 0.05)
    assert low <= found.alarms <= high


def test_p_is_uniform_where_members_are_any_images():
    """Of skewed columns, groups of different size, and samples of another law."""
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        images = rng.exponential(size=(30, 2)) - 1
        samples = rng.normal(size=(20, 2))
        how = {"permutations": 99, "trials": 0, "seed": seed}
        found.append(closer(samples, images[:12], images[12:], **how).p_value)
    low, high = stats.binom.interval(0.998, len(found), 0.05)
    assert low <= np.sum(np.asarray(found) <= 0.05) <= high
    assert stats.kstest(found, "uniform").pvalue > 0.001


@pytest.mark.parametrize("mean", [0.0, 0.5])
def test_the_interval_covers_the_difference_of_normal_laws(mean):
    """In one dimension the distance is sum_j C(3, j) (E x^j - E y^j)^2, j = 1 ... 3."""
    moments = np.asarray([mean, mean**2, mean**3 + 3 * mean])
    exact = float(np.sum(np.asarray([3, 3, 1]) * moments**2))
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng([seed, 7])
        samples, members = rng.normal(size=(2, 80, 1))
        others = mean + rng.normal(size=(80, 1))
        how = {"permutations": 99, "trials": 0}
        found = closer(samples, members, others, **how).difference
        covered += found.low <= exact <= found.high
    assert covered >= 176  # 0.88


def test_images_that_are_all_the_same_are_nearer_to_none():
    same = np.ones((6, 2))
    found = closer(same, same, same, trials=5)
    assert (found.p_value, found.alarms) == (1.0, 0)
    assert found.difference.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": normal(2, 0)}, "rows of features"),
        ({"others": normal(3, 0)}, "rows of features of the others"),
        ({"members": np.full((9, 3), np.nan)}, "holds 27 NaN"),
        ({"permutations": 9}, "permutations=9"),
        ({"level": 0.3}, "level=0.3"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    given = {"samples": normal(9, 0), "members": normal(9, 1), "others": normal(9, 2)}
    with pytest.raises(UserError, match=said):
        closer(**{**given, **change})
