"""Tiles on their way: how many changes no bit; a size that is chosen stays chosen."""

from __future__ import annotations

import itertools
import json

import jax
import numpy as np
import pytest

from score_mia import tiles
from score_mia.check import UserError
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

    parts = np.arange(8), np.arange(8, 11)
    for values in tiles.through(call, lambda part: read, parts, 2):
        seen.extend(values)
    assert seen == list(range(11))
    # One to learn the size by, then three at once; the last is filled up.
    assert asked == [[0, 1], [2, 3, 4, 5, 6, 7], [8, 9, 10, 10]]
    assert begun == [0, 0, 0, 0, 2, 4]  # of the second part before the first is there


@pytest.mark.parametrize(("tile", "devices"), [(1, 1), (2, 1), (2, 3), (3, 4), (8, 2)])
def test_a_call_takes_tiles_of_several_parts_and_wastes_none(tile, devices):
    sizes = (6, 6, 6, 6, 6, 4)
    cuts = np.cumsum((0, *sizes))
    parts = [np.arange(a, b) for a, b in itertools.pairwise(cuts)]
    of_parts = [np.array_split(p, range(tile, len(p), tile)) for p in parts]
    of_parts = [block.tolist() for blocks in of_parts for block in blocks]
    given = []

    def call(rows):
        given.extend(np.reshape(rows, (devices, tile)).tolist())
        return jax.numpy.asarray(rows)

    found = tiles.through(call, lambda part: lambda ids: ids, parts, tile, devices)
    cut = list(tiles.by_part(found, sizes))
    for values, part in zip(cut, parts, strict=True):
        np.testing.assert_array_equal(values, part)
    # A tile has the same rows as if its part were alone, on one device.
    for tile_rows, expected in zip(given, of_parts, strict=False):
        assert [*dict.fromkeys(tile_rows)] == expected
    assert len(given) - len(of_parts) < devices


def test_what_was_begun_before_a_fault_is_given_before_it_is_raised():
    def opened(part):
        def read(ids):
            if 4 in ids:
                raise UserError("image 4 is damaged")
            return ids

        return read

    parts = np.arange(2), np.arange(2, 4), np.arange(4, 6)
    found = tiles.through(jax.numpy.asarray, opened, parts, 2)
    assert [next(found).tolist(), next(found).tolist()] == [[0, 1], [2, 3]]
    with pytest.raises(UserError, match="image 4"):
        next(found)


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
