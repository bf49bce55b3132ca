"""Tiles on their way: how many changes no bit; a size that is chosen stays chosen."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from score_mia import tiles
from score_mia.engine import Reader, collect
from score_mia.hosts import Host, TaskError
from score_mia.tiles import Engine
from tests.test_engine import IDS, Images, Probe, run, same, target

__all__ = ["target"]

AUTO = {"tile": "auto", "devices": 1}


@pytest.fixture
def times(monkeypatch):
    """Seconds of a tile by its rows, in the place of any that are measured."""
    table, tried = {}, []

    def fake(sizes, prepared):
        tried.append(tuple(sizes))
        for size in sizes:
            prepared(size)()
        return {n: table[n] / n for n in sizes if n in table}

    monkeypatch.setattr(tiles, "SIZES", (4, 8, 16))
    monkeypatch.setattr(tiles, "_CHOSEN", {})
    monkeypatch.setattr(tiles, "_seconds", fake)
    table["tried"] = tried
    return table


@pytest.mark.parametrize(("flight", "memory"), [(1, 2**26), (3, 2**26), (16, 1)])
def test_tiles_in_flight_change_no_bit(target, tmp_path, monkeypatch, flight, memory):
    usual = run(target, tmp_path / "a", shard=80, devices=1)
    monkeypatch.setattr(tiles, "IN_FLIGHT", flight)
    monkeypatch.setattr(tiles, "AHEAD_BYTES", memory)
    assert same(run(target, tmp_path / "b", shard=80, devices=1), usual)


def test_what_tiles_are_made_of_is_read_for_several_and_fetched_in_order(monkeypatch):
    monkeypatch.setattr(tiles, "IN_FLIGHT", 3)
    asked, begun, seen = [], [], []

    def read(ids):
        asked.append(ids.tolist())
        return {"x": ids.astype(np.float32)}

    def call(given):
        assert given["x"].shape == (2,)
        begun.append(len(seen))
        return jax.numpy.asarray(given["x"])

    ids = np.arange(11)
    values = tiles.through(call, read, ids, 2, lambda v: seen.extend(v))
    assert values.tolist() == seen == ids.tolist()
    # One to learn the size by, then three at once; the last is filled up.
    assert asked == [[0, 1], [2, 3, 4, 5, 6, 7], [8, 9, 10, 10]]
    assert begun == [0, 0, 0, 0, 2, 4]


def test_progress_is_told_of_every_row(monkeypatch):
    told = []
    tell = tiles.Teller(lambda n, **figures: told.append((n, figures)), ("cost", 1))
    for _ in range(5):
        tell(np.full((4, 2), 1234.0))
    tell.flush()
    tell.flush()
    assert sum(n for n, _ in told) == 20
    assert told[-1][1] == {"cost": "1,234 an image"}


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_the_fastest_tile_is_kept_and_is_that_of_who_names_it(target, tmp_path, times):
    times.update({4: 8.0, 8: 8.0, 16: 15.5})
    found = run(target, tmp_path / "auto", **AUTO)
    assert manifest(tmp_path / "auto")["tile"] == 8  # 16 is faster by 3 % only
    assert same(found, run(target, tmp_path / "named", tile=8, devices=1))
    run(target, tmp_path / "again", seed=1, **AUTO)
    assert times["tried"] == [(4, 8, 16)]


def test_resumption_keeps_a_tile_that_would_not_be_chosen_now(target, tmp_path, times):
    times.update({4: 1.0, 8: 9.0, 16: 99.0})
    whole = run(target, tmp_path, **AUTO)
    next(tmp_path.glob("part-00001-*")).unlink()
    times.update({4: 99.0, 8: 9.0, 16: 1.0})
    tiles._CHOSEN.clear()
    assert same(run(target, tmp_path, **AUTO), whole)
    assert manifest(tmp_path)["tile"] == 4
    assert len(times["tried"]) == 1


def test_only_sizes_that_fit_are_tried(target, tmp_path, times):
    class Hungry(Probe):
        def columns(self, model):
            return super().columns(model)._replace(bytes_per_row=10)

    times.update({4: 1.0, 7: 1.0, 8: 1.0})
    run(target, tmp_path / "a", Hungry(), memory=79, **AUTO)
    assert manifest(tmp_path / "a")["tile"] == 7
    run(target, tmp_path / "b", ids=IDS[:8], **AUTO)
    assert times["tried"] == [(4, 7), (4, 8)]


def test_a_size_beyond_the_memory_ends_the_trial(monkeypatch):
    def prepared(size):
        def call():
            if size > 4:
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too much")

        return call

    monkeypatch.setattr(tiles, "_CHOSEN", {})
    assert tiles.fastest((2, 4, 8), prepared, "a") in (2, 4)
    with pytest.raises(jax.errors.JaxRuntimeError):
        tiles.fastest((8,), prepared, "b")


def test_another_host_reads_what_the_first_has_chosen(target, tmp_path, times):
    times.update({4: 1.0, 8: 9.0, 16: 99.0})
    folder = tmp_path / "rows"
    whole = run(target, folder, **AUTO)
    engine = Engine(tile="auto", shard=32, devices=1)
    reader = Reader("probe", Probe(), target, Images(), 7, engine)
    assert reader.undecided
    assert reader.facts["tile"] == "auto"
    second = reader.with_tile(IDS, folder, Host(1, 2, tmp_path))
    assert (second.tile, second.facts["tile"]) == (4, 4)
    assert same(collect(reader, IDS, folder, Host(1, 2, tmp_path)), whole)


def test_a_signal_that_fails_when_it_is_tried_is_told_to_the_others(target, tmp_path):
    class Broken(Probe):
        def __call__(self, model, query, products):
            raise ZeroDivisionError

    engine = Engine(tile="auto", shard=32, devices=1)
    reader = Reader("probe", Broken(), target, Images(), 7, engine)
    with pytest.raises(ZeroDivisionError):
        reader.with_tile(IDS, tmp_path, Host(0, 2, tmp_path))
    with pytest.raises(TaskError, match="ZeroDivisionError"):
        reader.with_tile(IDS, tmp_path, Host(1, 2, tmp_path))
