from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from score_mia.check import UserError
from score_mia.data.loader import Batches, PoissonBatches


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_every_epoch_holds_every_row_once(n, batch, seed):
    batches = Batches(n, batch, seed)
    steps = -(-3 * n // batch)
    stream = np.concatenate([batches.indices(i) for i in range(steps)])
    for epoch in range(3):
        rows = stream[epoch * n : (epoch + 1) * n]
        assert sorted(rows) == list(range(n))


def test_a_step_needs_no_past():
    stream = [Batches(37, 5, 1).indices(i) for i in range(40)]
    for step in (39, 0, 17):
        np.testing.assert_array_equal(Batches(37, 5, 1).indices(step), stream[step])


def test_epochs_and_seeds_differ():
    epochs = [Batches(50, 50, 3).indices(i).tolist() for i in range(5)]
    epochs += [Batches(50, 50, seed).indices(0).tolist() for seed in (4, 5)]
    assert len({tuple(e) for e in epochs}) == 7


def test_a_batch_is_the_callers_to_change():
    batches = Batches(10, 10, 0)
    first = batches.indices(0)
    want = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(batches.indices(0), want)


def test_poisson_batches_are_independent_coins():
    n, rate, steps = 40, 0.2, 2000
    batches = PoissonBatches(n, rate, cap=n, seed=5)
    chosen = np.zeros((steps, n))
    for step in range(steps):
        rows = batches.indices(step)
        real = rows[rows >= 0]
        assert np.all(rows[len(real) :] == -1)
        assert len(np.unique(real)) == len(real)
        chosen[step, real] = 1
    error = np.sqrt(rate * (1 - rate) / steps)
    assert np.max(np.abs(chosen.mean(axis=0) - rate)) < 4.5 * error
    correlation = np.corrcoef(chosen.T) - np.eye(n)
    assert np.max(np.abs(correlation)) < 5.5 / np.sqrt(steps)
    # The size of a batch is binomial: its variance tells coins from a fixed draw.
    variance = chosen.sum(axis=1).var()
    assert abs(variance / (n * rate * (1 - rate)) - 1) < 0.15


def test_a_full_poisson_batch_keeps_a_random_part():
    batches = PoissonBatches(20, 1.0, cap=5, seed=0)
    rows = np.stack([batches.indices(step) for step in range(400)])
    assert rows.min() >= 0
    counts = np.bincount(rows.ravel(), minlength=20)
    assert (
        counts.min() > 60
    )  # each is expected 100 times; the first 5 are no favourites
    assert PoissonBatches(20, 0.0, 5, 0).indices(0).tolist() == [-1] * 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Batches(0, 4, 0), "n=0"),
        (lambda: Batches(4, 0, 0), "batch=0"),
        (lambda: Batches(4, 4, 0).indices(-1), "step=-1"),
        (lambda: PoissonBatches(4, 1.5, 4, 0), "rate=1.5"),
    ],
)
def test_bad_numbers(call, message):
    with pytest.raises(UserError, match=message):
        call()
