"""A service's bad days: what is asked again, what is told, and that nothing is lost."""

from __future__ import annotations

import email.message
import time
import urllib.error

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.models.polite import Manners, Polite
from score_mia.registry import section

SHAPE = (4, 4, 3)
SEEDS = np.arange(3)


class Moody:
    """Answers as it is told to, then well; counts what it answered."""

    shape = SHAPE

    def __init__(self, *moods):
        self.moods, self.asked = [*moods], []

    def draw(self, prompts, seeds):
        self.asked.append((prompts, seeds.tolist()))
        mood = self.moods.pop(0) if self.moods else "well"
        if isinstance(mood, Exception):
            raise mood
        if callable(mood):
            return mood()
        rows = [np.random.default_rng(int(s)).random(SHAPE) for s in seeds]
        return np.stack(rows).astype(np.float32)


def http(code, **headers):
    message = email.message.Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://x", code, "no", message, None)


def polite(service, tmp_path, **manners):
    waits = []
    made = Polite(service, Manners(str(tmp_path / "log"), **manners), waits.append)
    return made, waits


BAD = {
    "429": http(429, Retry_After="7"),
    "500": http(500),
    "refused": ConnectionRefusedError("no"),
    "garbage": ValueError("cannot identify image"),
    "size": lambda: np.zeros((1, 8, 8, 3), np.float32),
    "nothing": lambda: np.zeros((0, *SHAPE), np.float32),
    "nan": lambda: np.full((1, *SHAPE), np.nan, np.float32),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_answer_is_asked_for_again(kind, tmp_path):
    service = Moody("well", BAD[kind], BAD[kind])
    made, waits = polite(service, tmp_path)
    images = made.draw(["a", "b", "c"], SEEDS)
    np.testing.assert_array_equal(images, Moody().draw(None, SEEDS))
    assert len(service.asked) == 5
    assert waits == ([7.0, 7.0] if kind == "429" else [1.0, 2.0])


@pytest.mark.parametrize("kind", BAD)
def test_one_that_stays_bad_is_told_and_nothing_is_lost(kind, tmp_path):
    made, waits = polite(Moody("well", *[BAD[kind]] * 3), tmp_path, retries=2)
    with pytest.raises(
        UserError, match=r"request .* failed 3 times .* is kept"
    ) as told:
        made.draw(["a", "b", "c"], SEEDS)
    assert "\n" not in str(told.value)
    assert len(waits) == 2
    again, service = polite(Moody(), tmp_path)[0], Moody()
    again = Polite(service, again.manners)
    images = again.draw(["a", "b", "c"], SEEDS)
    np.testing.assert_array_equal(images, Moody().draw(None, SEEDS))
    assert [seeds for _, seeds in service.asked] == [[1], [2]]


def test_a_hanging_request_is_given_up(tmp_path):
    service = Moody(lambda: time.sleep(5))
    made, waits = polite(service, tmp_path, timeout=0.05)
    assert made.draw(None, SEEDS[:1]).shape == (1, *SHAPE)
    assert waits == [1.0]


def test_the_budget_is_of_all_runs_and_a_rate_is_kept(tmp_path):
    how = {"price": 2.0, "budget": 5.0, "per_minute": 30.0}
    made, waits = polite(Moody(), tmp_path, **how)
    with pytest.raises(UserError, match="is spent: 2 requests of 2 are 4; raise it"):
        made.draw(None, SEEDS)
    assert waits == [2.0, 2.0]
    richer, _ = polite(service := Moody(), tmp_path, price=2.0, budget=6.0)
    richer.draw(None, SEEDS)
    assert [seeds for _, seeds in service.asked] == [[2]]


def test_other_prompts_and_seeds_are_other_requests(tmp_path):
    made, _ = polite(service := Moody(), tmp_path)
    made.draw(["a"], SEEDS[:1])
    made.draw(["b"], SEEDS[:1])
    made.draw(["a"], SEEDS[:1])
    assert [prompts for prompts, _ in service.asked] == [["a"], ["b"]]
    with pytest.raises(UserError, match="varies no images"):
        made.vary(np.zeros((1, *SHAPE)), None, SEEDS[:1], strength=0.5, steps=2)


def test_manners_are_checked():
    for fields, told in (
        ({"budget": 3.0}, "needs a price"),
        ({"retries": -1}, "retries"),
        ({"timeout": 0.0}, "timeout"),
    ):
        with pytest.raises(UserError, match=told):
            section("target", "polite", Manners, {"log": "x", **fields})
