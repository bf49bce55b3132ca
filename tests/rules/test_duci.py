"""The share of a set that was used, where it is known."""

from __future__ import annotations

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.readings import Evidence, Readings
from score_mia.rules.duci import Duci


def sets(seed, share, size=200, shadows=6, gap=1.0, spread=0.0):
    """Suspects of whom a share are members, and as many unseen.

    Attributes:
      spread: by how much the models' gaps differ.
    """
    rng, n = np.random.default_rng(seed), 2 * size
    level, ids = 10 * rng.normal(size=n), np.arange(n)

    def readings(member):
        own = gap + spread * rng.normal()
        values = level + own * member + 0.5 * rng.normal(size=n)
        return Readings.of(values[:, None], ids, ("loss",), member)

    member = ids < round(share * size)
    turns = np.argsort(rng.random((shadows, n)), axis=0) < shadows // 2
    rows = Evidence(readings(member), tuple(map(readings, turns))).unlabelled()
    return rows.select(ids < size), rows.select(ids >= size)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_that_was_used_is_found(share):
    found = [Duci().judge(*sets(seed, share), seed=0) for seed in range(6)]
    mean = np.mean([one.value for one in found])
    assert mean == pytest.approx(share, abs=0.06)
    held = [one.low <= share <= one.high for one in found]
    assert np.mean(held) >= 0.6
    assert all(one.high - one.low < 0.5 for one in found)
    assert "TPR - FPR of 6 shadows 0." in found[0].about


def test_where_guesses_are_chance_nothing_is_claimed():
    found = Duci().judge(*sets(0, 0.5, gap=0.0), seed=0)
    assert (found.low, found.high) == (0.0, 1.0)
    assert "cannot be told" in found.about


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.0, 0.2])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_intervals_hold_the_share_as_often_as_they_say(share, spread):
    found = [
        Duci().judge(*sets(seed, share, spread=spread), seed=0) for seed in range(300)
    ]
    held = np.mean([one.low <= share <= one.high for one in found])
    print(share, spread, held, np.mean([one.value for one in found]))
    assert held >= 0.93 - 0.014


def test_what_cannot_be_is_refused():
    suspects, unseen = sets(0, 0.5)
    for count in (0, 2):
        few = [e._replace(others=e.others[:count]) for e in (suspects, unseen)]
        with pytest.raises(UserError, match=f"{count} shadows; it needs three"):
            Duci().judge(*few, seed=0)
    for fields in ({"fpr": 0.0}, {"level": 1.0}, {"columns": ()}):
        with pytest.raises(UserError, match=next(iter(fields))):
            Duci(**fields)
