"""KID and the Fréchet distance: closed forms, torch's numbers, bias and coverage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import linalg

from score_mia.check import UserError
from score_mia.metrics import image
from score_mia.metrics.image import frechet_distance, kid
from score_mia.results import Distance
from tests.golden.derive_encoders import feature_sets

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics_image.npz"


def with_moments(n, mean, covariance, seed):
    """A sample [n, d] whose own mean and covariance are exactly the given ones."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x -= x.mean(axis=0)
    white = linalg.solve_triangular(linalg.cholesky(np.cov(x.T)).T, x.T, lower=True).T
    return white @ linalg.cholesky(covariance) + mean


def random_covariance(d, seed):
    x = np.random.default_rng(seed).normal(size=(3 * d, d))
    return np.cov(x.T)


def test_both_are_torch_fidelitys_on_the_same_features():
    theirs = np.load(GOLDEN)
    a, b, few = feature_sets()
    np.testing.assert_allclose(kid(a, b).value, theirs["kid"], rtol=1e-10)
    np.testing.assert_allclose(frechet_distance(a, b).value, theirs["fid"], rtol=1e-10)
    # With fewer rows than columns they take roots of rounded zeros.
    ours = frechet_distance(a, few).value
    np.testing.assert_allclose(ours, theirs["fid_few"], rtol=1e-6)


def test_frechet_distance_of_gaussians_in_closed_form():
    one, two = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    shift = np.array([0.5, 0.0, -2.0])
    a = with_moments(40, np.zeros(3), np.diag(one), 0)
    b = with_moments(25, shift, np.diag(two), 1)
    exact = shift @ shift + np.sum((np.sqrt(one) - np.sqrt(two)) ** 2)
    found = frechet_distance(a, b)
    np.testing.assert_allclose(found.value, exact, rtol=1e-12)
    assert found == Distance(found.value, None, None, (40, 25), 3)

    # Two covariances that do not commute: for 2x2, tr (AB)^(1/2) has a closed form.
    covariances = [random_covariance(2, seed) for seed in (0, 1)]
    a, b = (with_moments(30, np.zeros(2), c, 2) for c in covariances)
    product = covariances[0] @ covariances[1]
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    exact = sum(map(np.trace, covariances)) - 2 * root
    np.testing.assert_allclose(frechet_distance(a, b).value, exact, rtol=1e-10)


def test_frechet_distance_knows_neither_order_nor_axes():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 6)), rng.normal(size=(20, 6)) * 1.5 + 1
    turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    value = frechet_distance(a, b).value
    for other in (
        frechet_distance(b, a),
        frechet_distance(a[::-1], b),
        frechet_distance(a @ turn, b @ turn),
        frechet_distance(np.pad(a, ((0, 0), (0, 50))), np.pad(b, ((0, 0), (0, 50)))),
    ):
        np.testing.assert_allclose(other.value, value, rtol=1e-12)
    assert 0 <= frechet_distance(a, a).value < 1e-12
    np.testing.assert_allclose(frechet_distance(a, a + 2).value, 6 * 4, rtol=1e-12)


def test_frechet_distance_is_biased_as_the_docstring_says():
    """Two samples of one law are further apart the fewer they are."""
    rng = np.random.default_rng(0)
    near, far = (
        frechet_distance(*rng.normal(size=(2, n, 16))).value for n in (2000, 50)
    )
    assert far > 10 * near


def brute(a, b, degree):
    """The unbiased estimate, pair by pair."""
    k = lambda x, y: (x @ y / len(x) + 1) ** degree  # noqa: E731
    own = lambda s: np.mean(  # noqa: E731
        [k(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]
    )
    return own(a) + own(b) - 2 * np.mean([k(x, y) for x in a for y in b])


@pytest.mark.parametrize("degree", [1, 3])
def test_kid_is_the_mean_over_all_pairs(degree, monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(6, 4)) + 0.5
    whole = kid(a, b, degree=degree)
    np.testing.assert_allclose(whole.value, brute(a, b, degree), rtol=1e-12)
    assert whole.n == (9, 6)
    assert whole.features == 4
    monkeypatch.setattr(image, "_BLOCK", 4)
    cut = kid(a, b, degree=degree)
    np.testing.assert_allclose(
        (cut.value, cut.low, cut.high), (whole.value, whole.low, whole.high), rtol=1e-10
    )


def degenerate(matrix, hollow):
    """Mean square of the residuals of an additive fit, by least squares."""
    m, n = matrix.shape
    i, j = np.nonzero(~np.eye(m, n, dtype=bool) if hollow else np.ones((m, n), bool))
    design = np.eye(m)[i] + np.eye(m)[j] if hollow else np.hstack(
        [np.eye(m)[i], np.eye(n)[j]]
    )  # fmt: skip
    y = matrix[i, j]
    fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return np.mean((y - fit) ** 2)


def test_kid_interval_is_jackknife_plus_degenerate_variance():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(9, 4)), rng.normal(size=(6, 4)) + 0.5
    m, n = len(a), len(b)
    out = [
        [brute(np.delete(a, i, 0), b, 3) for i in range(m)],
        [brute(a, np.delete(b, i, 0), 3) for i in range(n)],
    ]
    variance = sum((len(part) - 1) * np.var(part) for part in out)
    kernel = lambda x, y: (x @ y.T / 4 + 1) ** 3  # noqa: E731
    variance += 2 * degenerate(kernel(a, a), True) / (m * (m - 1))
    variance += 2 * degenerate(kernel(b, b), True) / (n * (n - 1))
    variance += 4 * degenerate(kernel(a, b), False) / (m * n)
    found = kid(a, b, level=0.6826894921370859)
    np.testing.assert_allclose(found.high - found.value, np.sqrt(variance), rtol=1e-6)
    np.testing.assert_allclose(found.value - found.low, np.sqrt(variance), rtol=1e-6)


def exact_kid(shift):
    """For N(0, 1) and N(shift, 1): sum over k of C(3, k) (difference of moments)^2."""
    moments = [(0.0, shift), (1.0, 1 + shift**2), (0.0, 3 * shift + shift**3)]
    return sum(c * (p - q) ** 2 for c, (p, q) in zip((3, 3, 1), moments, strict=True))


@pytest.mark.parametrize("shift", [0.0, 0.4])
def test_kid_is_unbiased_at_small_n_and_its_interval_covers(shift):
    rng = np.random.default_rng(2)
    truth, found = exact_kid(shift), []
    for _ in range(1500):
        a, b = rng.normal(size=(12, 1)), rng.normal(size=(15, 1)) + shift
        found.append(kid(a, b))
    values = np.array([f.value for f in found])
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - truth) < 4 * error
    assert values.min() < 0  # it is not cut off at 0, or it would be biased
    covered = np.mean([f.low <= truth <= f.high for f in found])
    # One dimension and few rows: the worst case of those tried (see `kid`).
    assert covered > (0.97 if shift == 0 else 0.9)


def test_kid_interval_covers_between_features_like_a_networks():
    rng = np.random.default_rng(3)
    mixing = rng.normal(size=(8, 32)) / np.sqrt(8)
    draw = lambda n, gain: np.maximum(gain * rng.normal(size=(n, 8)) @ mixing, 0)  # noqa: E731
    truth = np.mean([kid(draw(1500, 1.0), draw(1500, 1.2)).value for _ in range(8)])
    for gain, exact in ((1.0, 0.0), (1.2, truth)):
        found = [kid(draw(40, 1.0), draw(30, gain)) for _ in range(400)]
        assert np.mean([f.low <= exact <= f.high for f in found]) > 0.93


def test_wrong_features_are_told():
    x = np.zeros((5, 3))
    with pytest.raises(UserError, match="same encoder"):
        kid(x, np.zeros((5, 4)))
    with pytest.raises(UserError, match="rows of features b=2"):
        kid(x, x[:2])
    with pytest.raises(UserError, match="rows of features a=1"):
        frechet_distance(x[:1], x)
    spoilt = x.copy()
    spoilt[0, 0] = np.nan
    with pytest.raises(UserError, match="features b: holds 1 NaN"):
        frechet_distance(x, spoilt)
    with pytest.raises(UserError, match="degree"):
        kid(x, x, degree=0)
