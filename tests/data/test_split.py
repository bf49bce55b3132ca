from __future__ import annotations

import dataclasses
import zipfile

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data import SPLITS, ArraySource
from score_mia.data.given import files, listed
from score_mia.data.sampled import sampled
from score_mia.data.split import Split, coin, shuffled
from score_mia.registry import make
from tests.data.makers import source_of


def numbered(n, first=0):
    """n one-pixel images whose ids do not begin at zero."""
    source = source_of(
        np.arange(n, dtype=np.uint32).astype(np.uint8).reshape(n, 1, 1, 1)
    )
    return dataclasses.replace(source, ids=np.arange(n) + first)


def test_the_papers_members_of_ffhq():
    split = shuffled(numbered(70_000), members=10)
    known = [8540, 50061, 13301, 69219, 10171, 5187, 45785, 61653, 32277, 60302]
    assert split.members.tolist() == sorted(known)
    assert len(split.nonmembers) == 69_990


def test_shuffled_takes_the_following_as_nonmembers():
    order = np.arange(50)
    np.random.seed(2022)
    np.random.shuffle(order)
    split = shuffled(numbered(50, 100), members=8, nonmembers=12)
    assert split.members.tolist() == sorted(100 + order[:8])
    assert split.nonmembers.tolist() == sorted(100 + order[8:20])


def test_the_reference_is_a_share_of_each_class_and_moves_no_member():
    source = numbered(40)
    split = shuffled(source, 10, 20, reference=0.3)
    assert split.counts == {"members": 7, "nonmembers": 14, "reference": 9}
    assert np.sum(split.reference & split.member) == 3
    for share in (0.0, 0.5):
        other = shuffled(source, 10, 20, reference=share)
        np.testing.assert_array_equal(other.members, split.members)
    assert shuffled(source, 10, 20, seed=7) != shuffled(source, 10, 20)


def test_coins_are_fair_and_blind_to_the_reference():
    source = numbered(4000)
    split = coin(source, reference=0.25)
    count = len(split.members)
    assert abs(count - 2000) < 4 * np.sqrt(1000)
    assert count != 2000  # a fixed half would not be coins
    assert np.sum(split.reference) == 1000
    known = np.sum(split.member[split.reference])
    assert abs(known - 500) < 4 * np.sqrt(250)
    np.testing.assert_array_equal(split.member, coin(source, reference=0.0).member)
    few = coin(source, size=300, probability=0.1)
    assert len(few.ids) == 300
    assert abs(len(few.members) - 30) < 4 * np.sqrt(27)
    assert few.recipe["independent"] is True


def test_a_saved_split_is_the_same(tmp_path):
    split = shuffled(numbered(30), 10)
    split.save(tmp_path / "split.npz")
    again = Split.load(tmp_path / "split.npz")
    assert again == split
    assert again.recipe == split.recipe
    np.testing.assert_array_equal(again.member, split.member)
    part = sampled(numbered(30), dict(name="shuffled", members=10), members=4)
    part.save(tmp_path / "part.npz")
    assert Split.load(tmp_path / "part.npz") == part


def test_any_difference_changes_the_fingerprint():
    split = shuffled(numbered(30), 10)
    flipped = split.reference.copy()
    flipped[3] ^= True
    for change in (
        {"reference": flipped},
        {"member": ~split.member},
        {"digest": "other"},
        {"recipe": {}},
        {"auxiliary": np.asarray([99])},
        {"unjudged": np.asarray([99])},
    ):
        assert dataclasses.replace(split, **change) != split


def test_split_files_of_every_kind_agree(tmp_path):
    source = numbered(20)
    inside, outside = np.asarray([3, 1, 7]), np.asarray([2, 19, 5])
    (tmp_path / "in.txt").write_text("# members\n3\n1 # one\n\n7\n")
    np.save(tmp_path / "out.npy", outside.astype(np.int32))
    np.savez(tmp_path / "s.npz", mia_train_idxs=inside, mia_eval_idxs=outside)
    np.savez(tmp_path / "own.npz", members=inside, nonmembers=outside)
    splits = [
        files(source, tmp_path / "in.txt", tmp_path / "out.npy"),
        files(source, tmp_path / "s.npz", tmp_path / "s.npz"),
        files(source, tmp_path / "s.npz"),
        files(source, tmp_path / "own.npz"),
    ]
    for split in splits:
        assert split.members.tolist() == [1, 3, 7]
        assert split.nonmembers.tolist() == [2, 5, 19]
        np.testing.assert_array_equal(split.reference, splits[0].reference)
        assert split.counts["reference"] == 2


def test_listed_reference_images_take_the_place_of_the_share(tmp_path):
    for name, ids in {"m": "1\n2", "n": "3\n4", "rm": "2\n6", "rn": "8"}.items():
        (tmp_path / name).write_text(ids)
    split = files(
        numbered(9),
        tmp_path / "m",
        tmp_path / "n",
        reference_members=tmp_path / "rm",
        reference_nonmembers=tmp_path / "rn",
    )
    assert split.members.tolist() == [1, 2, 6]
    assert split.nonmembers.tolist() == [3, 4, 8]
    assert split.ids[split.reference].tolist() == [2, 6, 8]


def test_ranges_stand_for_their_ids():
    source = numbered(30, 100)
    split = files(source, ("100:103", 107), ("110:129",), reference=0.0)
    assert split.members.tolist() == [100, 101, 102, 107]
    assert split.nonmembers.tolist() == [*range(110, 129)]
    same = files(source, (100, 101, 102, 107), tuple(range(110, 129)), reference=0.0)
    np.testing.assert_array_equal(split.ids, same.ids)
    for wrong in ("110:131", "110:110", "112:110"):
        with pytest.raises(UserError, match=f"entry 1 is '{wrong}', no ids up to 129"):
            files(source, (wrong,), ("101:103",))


def test_every_role_by_its_own_list():
    lists = dict(members=("0:4",), nonmembers=("10:14",), reference_members=(4,))
    lists |= dict(auxiliary=("20:25",), unjudged=("5:9",))
    split = listed(numbered(30), **lists)
    assert split.counts == {"members": 4, "nonmembers": 4, "reference": 1}
    assert split.ids.tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13]
    assert split.members.tolist() == [*range(9)]  # all that is trained on
    assert split.nonmembers.tolist() == [10, 11, 12, 13]
    assert split.auxiliary.tolist() == [20, 21, 22, 23, 24]
    for role in ("auxiliary", "unjudged"):
        with pytest.raises(UserError, match=r"1 ids are member and non-member.*\[10\]"):
            listed(numbered(30), **{**lists, role: (10,)})
    with pytest.raises(UserError, match="unjudged images that play another part too"):
        listed(numbered(30), **{**lists, "unjudged": (20, 21)})


def test_a_sample_of_a_large_training_set():
    source = numbered(400, 50)
    whole = dict(name="shuffled", members=200, nonmembers=150, reference=0.2, seed=4)
    all_of_it = make("split", SPLITS, whole, source=source)
    split = sampled(source, whole, members=50, nonmembers=30)
    assert split.counts == {"members": 40, "nonmembers": 24, "reference": 16}
    np.testing.assert_array_equal(split.members, all_of_it.members)
    assert len(split.unjudged) == 150
    roles = dict(zip(all_of_it.ids, all_of_it.reference, strict=True))
    assert [roles[i] for i in split.ids] == split.reference.tolist()
    assert sampled(source, whole, members=50, nonmembers=30) == split
    other = sampled(source, whole, members=50, nonmembers=30, seed=3)
    assert {*other.unjudged} != {*split.unjudged}
    assert len(sampled(source, whole, members=50).nonmembers) == 50
    coins = sampled(source, dict(name="coin"), members=20)
    assert "independent" not in coins.recipe  # counts that are fixed are no coins
    with pytest.raises(UserError, match=r"split.nonmembers=151: but the split has 150"):
        sampled(source, whole, members=151)
    with pytest.raises(UserError, match="split 'sampled' is unknown; known: coin"):
        sampled(source, dict(name="sampled", split=whole, members=3), members=2)


def named(*names):
    """Images with file names."""
    pixels = np.zeros((len(names), 2, 2, 1), np.uint8)
    return ArraySource("named", pixels, np.arange(len(names)), files=names)


def test_lists_of_file_names(tmp_path):
    source = named("a.png", "b#1.png", "c.png", "d/e.png", "9.png")
    (tmp_path / "m.txt").write_text("b#1.png\nd/e.png  # below\n")
    for members in (tmp_path / "m.txt", ("b#1.png", "d/e.png"), ("d/e.png", 1)):
        split = files(source, members, ("a.png", "4"), reference=0.0)
        assert split.members.tolist() == [1, 3]
        assert split.nonmembers.tolist() == [0, 4]
    with pytest.raises(
        UserError, match=r"entry 2 is 'c.pgn', no id .*nearest: 'c.png'"
    ):
        files(source, ("a.png", "c.pgn"), ("9.png",))
    with pytest.raises(UserError, match="split members: repeats 1 ids"):
        files(source, ("a.png", 0), ("9.png",))


# --- bad input ---


def test_changed_data_are_refused():
    source = numbered(30)
    split = shuffled(source, 10)
    split.check(source)
    changed = dataclasses.replace(source, pixels=source.pixels + np.uint8(1))
    with pytest.raises(
        UserError, match=r"digest .*images or their labels have changed"
    ):
        split.check(changed)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"members": 0}, "members=0"),
        ({"members": 30}, "leave at least one non-member"),
        ({"members": 20, "nonmembers": 11}, "do not fit 30 images"),
        ({"members": 20, "nonmembers": 0}, "at least one non-member"),
        ({"members": 5, "reference": 1.0}, "no members left to evaluate on"),
        ({"members": 5, "reference": 1.5}, "reference=1.5"),
        ({"members": 5, "seed": -1}, "seed=-1"),
        ({"member": 5}, "did you mean 'members'"),
        ({"name": "shufled"}, "did you mean 'shuffled'"),
        ({"name": "coin", "probability": 0.0}, "no members left"),
        ({"name": "coin", "probability": 1.0}, "no nonmembers left"),
        ({"name": "coin", "size": 31}, "size=31"),
    ],
)
def test_impossible_splits(fields, message):
    with pytest.raises(UserError, match=message):
        make("split", SPLITS, {"name": "shuffled", **fields}, source=numbered(30))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ("1\n5\n", r"1 ids are member and non-member \(first: \[5\]\)"),
        ("1\n99\n", r"1 ids are not in the data \(first: \[99\]\)"),
        ("1\n1\n", "repeats 1 ids"),
        ("# none\n", "holds no ids"),
        ("one\n", "cannot be read"),
        (
            "1\n2 # two\n\n3.5\n",
            r"\(line 4 is '3.5', no id up to 9223372036854775807\)",
        ),
        (f"1\n{10**30}\n", r"\(line 2 is '10{30}', no id"),
        (f"1\n{2**63}\n", r"line 2 is '9223372036854775808', no id"),
        ("1" * 5000, r"line 1 is '1{37}\.\.\.', no id"),
        ("1\n1_0\n", "line 2 is '1_0', no id"),
        ("1\n\u00b2\n", "line 2 is '\u00b2', no id"),
        ("1\n-5\n", r"1 ids are not in the data \(first: \[-5\]\)"),
    ],
)
def test_bad_lists(tmp_path, members, message):
    (tmp_path / "m.txt").write_text(members)
    (tmp_path / "n.txt").write_text("5\n6\n")
    with pytest.raises(UserError, match=message):
        files(numbered(20), tmp_path / "m.txt", tmp_path / "n.txt")


def test_lists_of_another_kind(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.arange(3), b=np.arange(3))
    with pytest.raises(UserError, match="name the array with the ids 'members'"):
        files(numbered(20), tmp_path / "x.npz")
    np.save(tmp_path / "f.npy", np.zeros(3))
    with pytest.raises(UserError, match="holds float64"):
        files(numbered(20), tmp_path / "f.npy", tmp_path / "f.npy")
    np.save(tmp_path / "u.npy", np.asarray([3, 2**63], np.uint64))
    with pytest.raises(UserError, match="holds the id 9223372036854775808; give ids"):
        files(numbered(20), tmp_path / "u.npy", tmp_path / "u.npy")
    (tmp_path / "l.txt").write_bytes(b"1\n\xff\n")
    with pytest.raises(UserError, match=r"l.txt cannot be read .*codec"):
        files(numbered(20), tmp_path / "l.txt", tmp_path / "u.npy")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as archive:
        archive.writestr("members", "1 2 3")
    with pytest.raises(UserError, match=r"t.npz: holds \|S5 \(\)"):
        files(numbered(20), tmp_path / "t.npz")
    with pytest.raises(UserError, match=r"members file x+: File name too long; check"):
        files(numbered(20), "x" * 300)
    (tmp_path / "d.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="cannot be read"):
        files(numbered(20), tmp_path / "d.npz")
    with pytest.raises(UserError, match="does not exist"):
        files(numbered(20), tmp_path / "none.txt", tmp_path / "f.npy")


def test_a_damaged_split_file(tmp_path):
    shuffled(numbered(30), 10).save(tmp_path / "split.npz")
    content = (tmp_path / "split.npz").read_bytes()
    (tmp_path / "split.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"split.npz is damaged"):
        Split.load(tmp_path / "split.npz")
