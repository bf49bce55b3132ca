"""A lazy folder is the decoded one, image by image and digest by digest."""

from __future__ import annotations

import os
import pickle
import time

import numpy as np
import pytest

from score_mia.attacks import Loss
from score_mia.check import UserError
from score_mia.data import SOURCES, given, index, lazy, local
from score_mia.data.index import scan
from score_mia.data.lazy import Ahead, Blocks, Files
from score_mia.engine import Reader
from score_mia.sde import VP
from score_mia.tiles import Engine
from tests.data.makers import pictures, write_folder
from tests.oracles import gaussian_target

folder = SOURCES["folder"]
COUNT = 150


@pytest.fixture
def root(tmp_path):
    place = tmp_path / "images"
    write_folder(place, pictures(COUNT, 12))
    return place


def both(root, **settings):
    return (folder(root, 8, lazy=each, **settings) for each in (False, True))


@pytest.mark.parametrize("captioned", [False, True])
def test_a_lazy_folder_is_the_decoded_one(root, captioned):
    if captioned:
        for path in root.rglob("*.png"):
            path.with_suffix(".txt").write_text(f"ü {path.stem}", encoding="utf-8")
    whole, parts = both(root)
    assert parts.digest == whole.digest
    assert parts.shape == whole.shape
    np.testing.assert_array_equal(parts.ids, whole.ids)
    # In any order, twice, and a single one.
    for ids in (whole.ids, np.asarray([7, 3, 3, 149, 0]), np.asarray([64])):
        names = ("image", "file", "caption", "label")
        one, other = whole.columns(ids, names), parts.columns(ids, names)
        assert one.keys() == other.keys()
        assert ("caption" in one) is captioned
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
        assert other["image"].dtype == np.float32
    with pytest.raises(UserError, match="has no image with id 150"):
        parts.images(np.asarray([150]))


def test_large_folders_are_lazy_unless_they_are_cached(root, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "LAZY", COUNT - 1)
    assert isinstance(folder(root, 8), lazy.LazySource)
    assert not isinstance(folder(root, 8, cache=tmp_path / "c"), lazy.LazySource)
    monkeypatch.setattr(local, "LAZY", COUNT)
    assert not isinstance(folder(root, 8), lazy.LazySource)
    with pytest.raises(UserError, match=r"workers=1.*lazy=True"):
        folder(root, 8, workers=1)


def aged(root):
    """As if the folders had not been changed for a while."""
    then = time.time_ns() - 10**10
    for path in (root, *(p for p in root.rglob("*") if p.is_dir())):
        os.utime(path, ns=(then, then))


def test_a_kept_index_is_not_made_again_where_nothing_changed(
    root, tmp_path, monkeypatch
):
    aged(root)
    cache = tmp_path / "cache"
    first = scan(root, cache)

    def never(root):
        raise AssertionError("searched again")

    with monkeypatch.context() as patch:
        patch.setattr(index, "_search", never)
        again = scan(root, cache)
    assert list(again.facts()) == list(first.facts())
    assert again.names(range(COUNT)) == sorted(first.names(range(COUNT)))
    # A file more, in a folder below: its time tells.
    (root / "a" / "zz.png").write_bytes((root / "a" / "000.png").read_bytes())
    assert len(scan(root, cache)) == COUNT + 1


def test_a_folder_that_has_just_changed_is_searched_again(root, tmp_path):
    """Its time of change could hide a second change within the clock's step."""
    cache = tmp_path / "cache"
    before = (root / "a").stat()
    scan(root, cache)
    (root / "a" / "zz.png").write_bytes((root / "a" / "000.png").read_bytes())
    os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(scan(root, cache)) == COUNT + 1


def test_a_file_changed_in_place_is_noticed_when_it_is_read(root, tmp_path):
    aged(root)
    source = folder(root, 8, lazy=True, cache=tmp_path / "cache")
    path = root / source.stored.index.name(5)
    os.utime(path, ns=(1, 1))
    again = folder(root, 8, lazy=True, cache=tmp_path / "cache")
    again.images(np.arange(5))
    with pytest.raises(UserError, match=rf"{path.name}: has changed.*index-"):
        again.images(np.arange(8))


def test_the_digest_is_kept_with_the_index(root, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    want = folder(root, 8, lazy=True, cache=cache).digest

    def never(self):
        raise AssertionError("read again")

    monkeypatch.setattr(lazy.LazySource, "_digest", never)
    assert folder(root, 8, lazy=True, cache=cache).digest == want
    with pytest.raises(AssertionError, match="read again"):
        _ = folder(root, 6, lazy=True, cache=cache).digest  # another size


def test_unequal_images_are_named_when_they_are_read(tmp_path):
    write_folder(tmp_path, pictures(2, 8), ["0.png", "1.png"])
    write_folder(tmp_path, pictures(1, 9), ["2.png"])
    source = folder(tmp_path, None, lazy=True)
    source.images(np.arange(2))
    with pytest.raises(UserError, match=r"image 2: has shape \(9, 9, 3\).*give size"):
        source.images(np.arange(3))


def test_an_index_takes_no_object_for_each_image(root):
    found = scan(root)
    held = (found.text, found.ends, found.sizes, found.times)
    assert all(isinstance(part, np.ndarray) for part in held)
    assert len(pickle.dumps(found)) < 2000 + 40 * COUNT


class Given:
    """In the place of grain: the blocks in this process, and how many were decoded."""

    def __init__(self, monkeypatch):
        self.passes = []

        def begin(ahead, block):
            self.passes.append(block)
            blocks = ahead._blocks
            ahead._held, ahead._next = {}, block
            ahead._pass = (blocks[i] for i in range(block, len(blocks)))

        monkeypatch.setattr(Ahead, "_begin", begin)


def test_a_pass_is_decoded_ahead_and_its_images_are_the_same(root, monkeypatch):
    given = Given(monkeypatch)
    files = folder(root, 8, lazy=True).stored
    ahead = Ahead(Blocks(files), 1)
    seen = {}
    for start in range(0, COUNT, 16):
        rows = np.arange(start, min(start + 16, COUNT))
        ready = ahead.take(rows)
        assert list(ready) == rows.tolist()
        seen |= ready
    assert given.passes == [0]
    for row, image in seen.items():
        np.testing.assert_array_equal(image, files.image(row))
    assert len(ahead._held) <= 1
    # Another pass; single images here and there begin none.
    assert ahead.take(np.asarray([0, 1])) == {}
    assert list(ahead.take(np.asarray([2, 3]))) == [2, 3]
    assert given.passes == [0, 0]
    for row in (7, 140, 90):
        ahead.take(np.asarray([row]))
    assert ahead.take(np.asarray([0, 149])) == {}
    assert given.passes == [0, 0]


def test_each_of_several_hosts_decodes_its_own_images_and_no_others(root, monkeypatch):
    """Parts of 16 of two hosts: without being told, every part would begin a pass."""
    given = Given(monkeypatch)
    files = folder(root, 8, lazy=True).stored
    ahead, decoded = Ahead(Blocks(files), 1), []
    image = type(files).image
    monkeypatch.setattr(
        type(files), "image", lambda s, row: decoded.append(row) or image(s, row)
    )
    parts = [np.arange(i, min(i + 16, COUNT)) for i in range(16, COUNT, 32)]
    own = np.concatenate(parts)
    ahead.expect(own)
    for part in parts:
        for rows in np.array_split(part, 2):
            assert list(ahead.take(rows)) == rows.tolist()
    assert given.passes == [0]
    assert decoded == own.tolist()
    # Who asks for another image is served as before.
    assert list(ahead.take(np.asarray([0, 1, 2]))) == [0, 1, 2]
    assert given.passes == [0, 0]


def test_an_audit_says_what_it_will_ask_for(root, monkeypatch):
    source = folder(root, 8, lazy=True)
    expected = []
    monkeypatch.setattr(
        type(source), "expect", lambda self, ids: expected.append(ids.tolist())
    )
    engine = Engine(tile=8, shard=16, devices=1)
    shape = source.shape
    model = gaussian_target(VP(), np.zeros(shape), np.eye(int(np.prod(shape))))
    reader = Reader("loss", Loss(times=2), model, source, 0, engine)
    parts = [source.ids[i : i + 16] for i in range(16, COUNT, 32)]
    list(reader.stream(parts, lambda *a, **k: None))
    assert expected == [np.concatenate(parts).tolist()]
    reader(parts[0], lambda *a, **k: None)
    assert len(expected) == 1


def test_a_damaged_image_is_told_by_who_asks_for_it(root, monkeypatch):
    Given(monkeypatch)
    source = folder(root, 8, lazy=True)
    ahead = Ahead(Blocks(source.stored), 1)
    (root / source.stored.index.name(70)).write_bytes(b"none")
    assert len(ahead.take(np.arange(64))) == 64
    assert ahead.take(np.arange(64, 128)) == {}  # decoded, and told, in this process
    with pytest.raises(UserError, match="has changed"):
        source.images(np.arange(64, 128))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_grain_decodes_the_same_images(root, workers):
    """Processes begin only where a pass does, and their number changes nothing."""
    pytest.importorskip("grain")
    whole, _ = both(root)
    source = folder(root, 8, lazy=True, workers=workers)
    for _ in range(2):
        for start in range(0, COUNT, 16):
            ids = np.arange(start, min(start + 16, COUNT))
            np.testing.assert_array_equal(source.images(ids), whole.images(ids))
    assert source.digest == whole.digest


def test_workers_without_grain_are_refused(root, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "grain", None)
    with pytest.raises(UserError, match=r"workers need the package grain.*\[grain\]"):
        folder(root, 8, lazy=True, workers=1)
    assert Files(scan(root), lazy.Decoder(8)).columns == ("file",)


def test_a_split_by_folders_reads_names_a_few_at_a_time(root, monkeypatch):
    whole, parts = both(root)
    want = given.folders(whole, "a", "b")
    assert want.members.tolist() == list(range(75))
    monkeypatch.setattr(given, "_NAMES", 7)
    assert given.folders(parts, "a", "b") == want
    with pytest.raises(UserError, match=r"split folder 'c'.*holds no image"):
        given.folders(parts, "a", "c")
