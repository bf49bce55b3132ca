"""Accounting against closed forms of the full batch, and against published numbers."""

from __future__ import annotations

import dataclasses
import math
import sys

import numpy as np
import pytest
from scipy import stats

from score_mia.check import UserError
from score_mia.metrics.epsilon import gaussian_delta, gaussian_mu
from score_mia.train import accounting
from score_mia.train.accounting import Mechanism, account, calibrate, epsilon
from tests.oracles import gaussian_epsilon

pytest.importorskip("dp_accounting")

# The published run: 1,000 faces, 1 / 16 of them a step, 1,800 epochs of 16 steps.
PAPER = Mechanism(1000, 1 / 16, 112, 2.98007, 28_800)
DELTA = 5e-4
# Every image in every batch: n steps of noise s are one Gaussian of noise s / sqrt(n).
FULL = Mechanism(100, 1.0, 100, 8.0, 25)
MU = math.sqrt(25) / 8.0


def test_the_papers_epsilon_is_found_by_both_accountants():
    assert epsilon(PAPER, DELTA, "rdp") == pytest.approx(19.62, abs=5e-5)
    assert epsilon(PAPER, DELTA, "pld") == pytest.approx(18.027, abs=5e-4)
    assert calibrate(PAPER, 19.62, DELTA, "rdp") == 2.98007


def test_tight_accounting_needs_less_noise_for_the_same_epsilon():
    # 2.81485 reaches 19.62, one unit of its last digit less does not.
    enough, short = (
        dataclasses.replace(PAPER, noise_multiplier=s) for s in (2.81485, 2.81484)
    )
    assert epsilon(enough, DELTA) <= 19.62 < epsilon(short, DELTA)


@pytest.mark.parametrize("adjacency", accounting.ADJACENCIES)
def test_full_batches_are_one_gaussian_mechanism(adjacency):
    m = dataclasses.replace(FULL, adjacency=adjacency)
    mu = 2 * MU if adjacency == "replace" else MU
    assert epsilon(m, 1e-5) == pytest.approx(gaussian_epsilon(mu, 1e-5), rel=1e-3)
    noise = calibrate(m, 2.0, 1e-5)
    exact = (mu / MU) * math.sqrt(25) / gaussian_mu(2.0, 1e-5)
    assert exact * (1 - 1e-5) < noise == pytest.approx(exact, rel=1e-3)
    told = account(m, 1e-5)["profile"]
    deltas = [gaussian_delta(mu, e) for e in told["epsilon"]]
    np.testing.assert_allclose(told["delta"], deltas, rtol=0.02, atol=1e-9)
    assert np.all(np.array(told["delta"]) >= np.array(deltas) * (1 - 1e-6) - 1e-12)


@pytest.mark.parametrize(
    ("accountant", "target"), [("pld", 3.0), ("rdp", 0.5), ("rdp", 12.0)]
)
def test_calibration_keeps_the_promise_and_wastes_nothing(accountant, target):
    m = Mechanism(500, 0.1, 96, 0.0, 2000)
    noise = calibrate(m, target, 1e-3, accountant)
    assert round(noise, 5) == noise

    def at(s):
        return epsilon(dataclasses.replace(m, noise_multiplier=s), 1e-3, accountant)

    assert at(noise) <= target < at(noise - 2e-5)


def test_renyi_accounting_is_looser_and_both_grow_with_steps_and_rate():
    for change in ({}, {"rate": 0.02, "capacity": 64}):
        m = dataclasses.replace(PAPER, **{"steps": 1000, "capacity": 200, **change})
        tight, loose = (epsilon(m, DELTA, a) for a in ("pld", "rdp"))
        assert tight < loose
        longer = dataclasses.replace(m, steps=4 * m.steps)
        assert epsilon(longer, DELTA) > tight
        assert epsilon(longer, DELTA, "rdp") > loose
        often = dataclasses.replace(m, rate=2 * m.rate, capacity=250)
        assert epsilon(often, DELTA) > tight


def test_the_chosen_capacity_truncates_next_to_nothing():
    for rows, rate in ((1000, 1 / 16), (64, 0.5), (50_000, 0.003)):
        chosen = accounting.capacity(rows, rate)
        assert chosen % 8 == 0
        # The batch is full without this image in at most one of 10^9 steps,
        assert stats.binom.sf(chosen - 1, rows - 1, rate) <= 1e-9
        # and with one multiple of 8 less in more than one.
        assert stats.binom.sf(chosen - 9, rows - 1, rate) > 1e-9
    assert accounting.capacity(10, 0.9) == 16  # never much more than there are
    free, tight = (dataclasses.replace(PAPER, capacity=c) for c in (1000, 80))
    paper = epsilon(dataclasses.replace(PAPER, capacity=120), DELTA)
    assert paper == pytest.approx(epsilon(free, DELTA), abs=1e-5)
    assert epsilon(tight, DELTA) == pytest.approx(20.46, abs=0.01)


def test_adjacency_is_no_detail():
    replaced = dataclasses.replace(PAPER, adjacency="replace")
    assert epsilon(replaced, DELTA) == pytest.approx(47.8, abs=0.1)
    with pytest.raises(UserError, match="adjacency='replace'; take accountant='pld'"):
        epsilon(replaced, DELTA, "rdp")


def test_no_noise_is_no_privacy():
    assert epsilon(dataclasses.replace(FULL, noise_multiplier=0.0), 1e-3) == math.inf


def test_an_epsilon_out_of_reach_is_told():
    with pytest.raises(UserError, match=r"epsilon=0\.01: no noise multiplier.*pld"):
        calibrate(Mechanism(64, 0.5, 56, 0.0, 1000), 0.01, 1e-5, "rdp")
    with pytest.raises(UserError, match=r"epsilon=0\.0: is not positive"):
        calibrate(FULL, 0.0, 1e-5)


def test_a_missing_library_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[dp\]'"):
        epsilon(dataclasses.replace(FULL, steps=7), 1e-3)
