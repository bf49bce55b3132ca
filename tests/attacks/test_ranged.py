"""Ranges: their copies, the trimmed mean, and members that were altered."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from score_mia.attacks import SIGNALS, Loss, Observe, Ranged, Secmi, calibrated
from score_mia.attacks.draws import noise_at
from score_mia.attacks.pfami import cropped
from score_mia.attacks.protocol import Columns, Reading, identity
from score_mia.attacks.ranged import Range
from score_mia.check import UserError
from score_mia.engine import Engine, Reader, collect
from score_mia.registry import make
from score_mia.sde import DDPM, VE
from tests.helpers import ask
from tests.oracles import memorising_target, scales, seen, standard_target

SHAPE = (4, 6, 1)
N = 16
ALL = np.random.default_rng(4).random((3 * N, *SHAPE), np.float32)
IDS = np.arange(3 * N)
MEMBER = IDS < N
KEY = jax.random.key(3)
TARGET = memorising_target(DDPM(), ALL[:N])
LOSS = Loss((100, 300))
MIRROR = Range(flip=1.0)


class Images:
    digest = "noise"

    def images(self, ids):
        return ALL[ids]


@dataclasses.dataclass(frozen=True)
class Mean:
    """The mean of the pixels, and of those on the left; half an image is not read."""

    access: ClassVar[str] = "scores"
    needs: ClassVar[tuple] = ()

    def columns(self, model):
        return Columns(("all", "left"), None, ("queries", "left"), 1.0)

    def __call__(self, model, query, products):
        left = query.image[:, : SHAPE[1] // 2].mean()
        values = jnp.stack([query.image.mean(), left])
        return Reading(values, jnp.stack([1.0, left]))


def read(signal: Any, image=ALL[0], key=KEY):
    return np.asarray(ask(signal, TARGET, jnp.asarray(image), key))


def drawn(law, count=64, image=ALL[0]):
    keys = jax.random.split(jax.random.key(1), count)
    return np.asarray(jax.vmap(lambda key: law.draw(key, jnp.asarray(image)))(keys))


def rows(signal, folder):
    how = Engine(tile=16, shard=48, devices=1)
    reader = Reader("x", signal, TARGET, Images(), 5, how)
    return collect(reader, IDS, folder).matrix()


def test_copies_are_of_the_range():
    image, mirrored = ALL[0], ALL[0][:, ::-1]
    is_flipped = [np.array_equal(x, mirrored) for x in drawn(Range(flip=0.5))]
    assert 0.25 < np.mean(is_flipped) < 0.75
    np.testing.assert_array_equal(drawn(MIRROR)[5], mirrored)
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    places = [(i, j) for i in range(3) for j in range(3)]
    moved = [padded[i : i + SHAPE[0], j : j + SHAPE[1]] for i, j in places]
    hits = [[np.array_equal(x, m) for m in moved] for x in drawn(Range(shift=1), 128)]
    assert (np.sum(hits, axis=1) == 1).all()
    assert np.any(hits, axis=0).all()
    brighter = (drawn(Range(brightness=0.1), image=0.5 + 0 * image) - 0.5)[..., 0]
    assert np.ptp(brighter, axis=(1, 2)).max() < 1e-6
    assert -0.1 <= brighter.min() < -0.05 < 0.05 < brighter.max() <= 0.1
    noisy = drawn(Range(noise=0.1), image=0.5 + 0 * image) - 0.5
    assert noisy.std() == pytest.approx(0.1, rel=0.1)
    assert drawn(Range(noise=1.0)).min() == 0.0
    cut = drawn(Range(crop=0.5))
    ends = [np.asarray(cropped(jnp.asarray(image), jnp.float32(s))) for s in (1, 0.5)]
    np.testing.assert_allclose(ends[0], image, atol=1e-6)
    assert np.abs(cut - image).max() > 0.1
    assert cut.var() < ALL[0].var()


def test_one_change_is_drawn_alike_beside_others():
    both, one = Range(shift=1, noise=1e-7), Range(shift=1)
    np.testing.assert_allclose(drawn(both), drawn(one), atol=1e-5)


def test_columns_are_trimmed_means_of_the_copies():
    """Of a standard normal, whose loss is (eps - c (alpha x + std eps))^2."""
    sde, t = VE(sigma_max=5.0), 0.3
    target, _ = standard_target(sde, jnp.asarray(ALL[0]))
    (alpha, std), c = scales(sde, t), seen(sde, t)
    signal = Ranged(Loss((t,)), Range(shift=2), count=8, low=0.25, high=0.75)
    own = jax.random.fold_in(KEY, 0xC0B1E5)
    copies = [
        signal.within.draw(jax.random.fold_in(own, k), jnp.asarray(ALL[0]))
        for k in range(1, 8)
    ]
    z = np.asarray(noise_at(KEY, 0, jnp.float32(t), SHAPE), np.float64)
    encoded = [2 * np.asarray(x, np.float64) - 1 for x in (ALL[0], *copies)]
    exact = sorted(-np.mean((z - c * (alpha * x + std * z)) ** 2) for x in encoded)
    found = np.asarray(ask(signal, target, jnp.asarray(ALL[0]), KEY))
    assert signal.kept == (2, 6)
    assert found[0] == pytest.approx(np.mean(exact[2:6]), rel=1e-4)


def test_each_column_has_its_own_best_copies():
    signal = Ranged(Mean(), MIRROR, count=2, low=0.5)
    halves = ALL[0][:, :3].mean(), ALL[0][:, 3:].mean()
    exact = [ALL[0].mean(), max(halves), 2.0, np.mean(halves)]
    np.testing.assert_allclose(read(signal), exact, rtol=1e-5)


def test_a_copy_that_cannot_be_read_is_told():
    broken = np.where(np.arange(6)[None, :, None] > 2, np.nan, ALL[0])
    left = read(Ranged(Mean(), MIRROR, count=2, high=1.0), broken)[1]
    assert np.isnan(left)


def test_one_copy_is_the_signal_itself():
    np.testing.assert_allclose(read(Ranged(LOSS, count=1)), read(LOSS), rtol=1e-5)


def test_a_mirrored_member_is_no_one_to_the_plain_attack_and_found_by_the_ranged(
    tmp_path,
):
    """The copies are the mirrored image and the member itself, of one noise."""
    own = rows(LOSS, tmp_path / "own")
    plain = rows(Ranged(LOSS, count=1, asked=MIRROR), tmp_path / "plain")
    ranged = Ranged(LOSS, MIRROR, count=2, low=0.5, asked=MIRROR)
    found = rows(ranged, tmp_path / "ranged")
    exact = np.maximum(own, plain)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-6)
    spread = np.sqrt(1 / (12 * N) + 1 / (24 * N))  # of a null AUC, N against 2 N
    aucs = [roc_auc_score(MEMBER, values[:, 0]) for values in (own, plain, found)]
    assert aucs[0] == aucs[2] == 1.0
    assert abs(aucs[1] - 0.5) < 3 * spread


def test_a_member_that_was_moved_is_found_though_its_border_is_lost(tmp_path):
    moved, loss = Range(shift=1), Loss((100,))
    plain = rows(Ranged(loss, count=1, asked=moved), tmp_path / "plain")[:, 0]
    ranged = Ranged(loss, moved, count=24, low=1 - 1 / 24, asked=moved)
    found = rows(ranged, tmp_path / "ranged")[:, 0]
    assert roc_auc_score(MEMBER, found) > 0.9
    assert roc_auc_score(MEMBER, plain) < 0.75


def test_what_is_altered_is_altered_alike_for_all():
    asked = Range(flip=0.5, shift=2, noise=0.1)
    one = read(Ranged(Mean(), count=1, asked=asked))
    two = read(Ranged(Mean(), MIRROR, count=2, low=0.0, asked=asked))
    assert one[0] == pytest.approx(two[0], rel=1e-5)  # a mirrored image's mean
    assert one[0] != pytest.approx(ALL[0].mean(), rel=1e-3)
    other = read(Ranged(Mean(), count=1, asked=asked), key=jax.random.key(4))
    assert one[0] != pytest.approx(other[0], rel=1e-5)


def test_cost_and_title():
    columns = Ranged(LOSS, count=8).columns(TARGET.denoiser)
    assert columns.evaluations == 8 * 2
    assert columns.names == ("loss@100", "loss@300")
    assert columns.title == "Loss at one time, best 2 of 8 copies (flip 0.5, shift 2)"
    asked = Ranged(LOSS, count=1, asked=MIRROR).columns(TARGET.denoiser)
    assert asked.title == "Loss at one time, asked about altered images (flip 1)"
    assert read(Ranged(LOSS, count=8))[2] == 8 * 2


def test_a_config_names_it_around_a_signal_and_inside_another():
    spec = {"name": "ranged", "signal": {"name": "loss", "times": 3}}
    near = {"within": {"flip": 0.5, "shift": 2}}
    made = make("signal", SIGNALS, {**spec, **near})
    assert made == Ranged(Loss(3))
    asked = make("signal", SIGNALS, {**spec, "asked": {"shift": 1}})
    assert len({identity(one) for one in (made, asked, Ranged(Loss(4)))}) == 3
    outer = make("signal", SIGNALS, {"name": "calibrated", "signal": spec})
    assert outer == calibrated(made)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"signal": Observe()}, "Observe is asked on the host"),
        ({"signal": calibrated(LOSS)}, "put that one around"),
        ({"signal": LOSS, "low": 0.5, "high": 0.5}, "no quantiles"),
        ({"signal": LOSS, "low": -0.5}, "is outside"),
        ({"signal": LOSS, "count": 0}, "below 1"),
    ],
)
def test_mistakes_are_told_in_one_line(spec, said):
    with pytest.raises(UserError, match=said) as caught:
        Ranged(**spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "changes nothing"),
        ({"flip": 1.5}, "range.flip=1.5"),
        ({"shift": -1}, "range.shift=-1"),
        ({"crop": 1.0}, "range.crop"),
        ({"noise": float("nan")}, "range.noise"),
    ],
)
def test_ranges_that_cannot_be_are_refused(fields, said):
    with pytest.raises(UserError, match=said):
        Range(**fields)


def test_what_the_inner_signal_refuses_is_refused_before_training():
    signal = Ranged(Secmi(pixels=(4, 4, 1)), count=2)
    signal.check_shape((4, 4, 1))
    with pytest.raises(UserError, match="do not come down to pixels"):
        signal.check_shape((5, 4, 1))
