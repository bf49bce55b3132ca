"""Who is drawn, and what a folder holds after a run, a killed run or another run."""

from __future__ import annotations

import os

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.data.given import files
from score_mia.data.local import folder
from score_mia.papers.captioned import LISTS, Captioned, Sizes, draw, write
from tests.data.makers import pictures, write_folder

FACTS = {"dataset": "made", "seed": 1}


def captioned(root, count=12, captions=None):
    names = write_folder(root / "host", pictures(count))
    said = captions or [f"picture {i}" for i in range(count)]
    return [
        Captioned(root / "host" / name, name, text)
        for name, text in zip(names, said, strict=True)
    ]


def names_of(drawn):
    return {name: [x.name for x in images] for name, images in drawn.lists.items()}


@pytest.mark.parametrize(
    "sizes", [Sizes(3, 4), Sizes(1, 1, 0), Sizes(2, 3, 4, 10), Sizes(4, 4, 4, 12)]
)
def test_lists_are_disjoint_and_as_long_as_asked(tmp_path, sizes):
    drawn = draw(captioned(tmp_path), sizes, 5)
    lists = names_of(drawn)
    every = [name for names in lists.values() for name in names]
    assert len(every) == len(set(every))
    total = sizes.images or 12
    rest = total - sizes.members - sizes.nonmembers
    want = (sizes.members, sizes.nonmembers)
    want += (rest if sizes.auxiliary is None else sizes.auxiliary,)
    assert tuple(map(len, lists.values())) == want
    assert tuple(lists) == LISTS
    assert len(drawn.images) == total


def test_a_seed_decides_and_the_order_of_the_pictures_does_not(tmp_path):
    pool = captioned(tmp_path)
    first = names_of(draw(pool, Sizes(4, 4), 7))
    assert names_of(draw(pool[::-1], Sizes(4, 4), 7)) == first
    assert names_of(draw(pool, Sizes(4, 4), 8)) != first
    names = sorted(x.name for x in pool)
    order = np.random.RandomState(7).permutation(12)
    assert first["members"] == [names[i] for i in order[:4]]
    assert first["nonmembers"] == [names[i] for i in order[4:8]]


@pytest.mark.parametrize("seed", range(6))
def test_no_image_and_no_caption_is_drawn_twice(tmp_path, seed):
    pool = captioned(tmp_path, 12, ["same"] * 3 + [f"picture {i}" for i in range(9)])
    for target in (4, 5):
        (pool[target].path).write_bytes(pool[3].path.read_bytes())
    drawn = draw(pool, Sizes(3, 3), seed)
    assert (drawn.same_image, drawn.same_caption) == (2, 2)
    assert len({x.path.read_bytes() for x in drawn.images}) == len(drawn.images) == 8
    assert len({x.caption for x in drawn.images}) == 8


def test_files_are_read_only_until_there_are_enough(tmp_path):
    pool = captioned(tmp_path)
    drawn = draw(pool, Sizes(1, 1, 0, 2), 7)
    for one in {x.path for x in pool} - {x.path for x in drawn.images}:
        one.unlink()
    assert draw(pool, Sizes(1, 1, 0, 2), 7) == drawn


@pytest.mark.parametrize("link", [True, False])
def test_what_is_written_is_read_by_a_config(tmp_path, link):
    drawn = draw(captioned(tmp_path), Sizes(3, 3, 2, 10), 1)
    out = write(drawn, tmp_path / "out", FACTS, link=link)
    source = folder(out, 8)
    assert len(source) == 10
    told = dict(zip(source.files, source.captions, strict=True))
    assert told == {x.name: x.caption for x in drawn.images}
    split = files(source, *(out / f"{n}.txt" for n in LISTS[:2]))
    lists = names_of(drawn)
    listed = source.columns(split.members, ("file",))["file"]
    assert sorted(lists["members"]) == listed.tolist()
    one = drawn.images[0]
    assert os.path.samefile(out / one.name, one.path) == link
    assert (out / one.name).read_bytes() == one.path.read_bytes()


def test_a_killed_run_is_completed_and_a_finished_one_is_kept(tmp_path):
    drawn = draw(captioned(tmp_path), Sizes(3, 3), 1)
    out = write(drawn, tmp_path / "out", FACTS)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    for name in ("captions.csv", "members.txt", drawn.images[2].name):
        (out / name).unlink()
    write(drawn, out, FACTS)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("change", ["seed", "sizes", "caption", "image"])
def test_another_draw_is_refused_where_one_is(tmp_path, change):
    pool = captioned(tmp_path)
    write(draw(pool, Sizes(3, 3), 1), tmp_path / "out", FACTS)
    sizes, facts = Sizes(3, 4 if change == "sizes" else 3), dict(FACTS)
    if change == "seed":
        facts["seed"] = 2
    if change == "caption":
        pool[0] = Captioned(pool[0].path, pool[0].name, "another")
    if change == "image":
        write_folder(tmp_path / "new", pictures(1, seed=9), ["x.png"])
        os.replace(tmp_path / "new" / "x.png", pool[0].path)
    with pytest.raises(UserError, match=r"out: holds images made with \w+=.*choose"):
        write(draw(pool, sizes, facts["seed"]), tmp_path / "out", facts)


BAD = {
    "too few": (lambda p: draw(p, Sizes(10, 5), 1), r"12 of them differ, and 15 are"),
    "pool": (lambda p: draw(p, Sizes(1, 1, 0, 13), 1), r"and 13 are asked for; give"),
    "small pool": (lambda p: Sizes(3, 3, 3, 8), r"images=8: is below the 9 of the"),
    "no members": (lambda p: Sizes(0, 3), r"members=0: is below 1"),
    "auxiliary": (lambda p: Sizes(1, 3, -1), r"auxiliary=-1: is below 0"),
    "seed": (lambda p: draw(p, Sizes(1, 1), -1), r"seed=-1: is outside"),
    "gone": (
        lambda p: (p[0].path.unlink(), draw(p, Sizes(4, 4), 1)),
        r"image .*000.png cannot be read \(No such file.*remove the file",
    ),
    "blank": (
        lambda p: draw([Captioned(p[0].path, " a.png", "x"), *p], Sizes(4, 4), 1),
        r"image ' a.png': has blanks at an end",
    ),
    "line": (
        lambda p: draw([Captioned(p[0].path, "a\nb.png", "x"), *p], Sizes(4, 4), 1),
        r"image 'a\\nb.png': has blanks at an end, or characters",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_drawn_is_told_in_one_line(tmp_path, case):
    call, message = BAD[case]
    with pytest.raises(UserError, match=message) as told:
        call(captioned(tmp_path))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("case", ["other", "file", "list"])
def test_a_folder_of_something_else_is_left_alone(tmp_path, case):
    drawn = draw(captioned(tmp_path), Sizes(3, 3), 1)
    out = tmp_path / "out"
    message = r"folder .*out: holds something else \(thesis.txt\)"
    if case == "file":
        out.write_text("mine")
        message = r"folder .*out: is a file; choose another"
    elif case == "other":
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    else:
        write(drawn, out, FACTS)
        (out / "members.txt").write_text("mine\n")
        message = r"list .*members.txt: holds other images; remove or rename it"
    with pytest.raises(UserError, match=message):
        write(drawn, out, FACTS)
