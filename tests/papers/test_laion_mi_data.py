"""The released lists in four formats, the control's split, and how the paper counts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from score_mia.check import UserError
from score_mia.papers.captioned import write_captions
from score_mia.papers.laion_mi.control import draw
from score_mia.papers.laion_mi.counting import resampled_tpr
from score_mia.papers.laion_mi.lists import Link, read
from tests.data.makers import pictures, write_folder

LINKS = (
    Link("https://a.example/1.jpg?w=1,2", 'A "red", long chair'),
    Link("http://b.example/ü.png", "Zwei Zeilen in einer"),
)
ROWS = [
    (LINKS[0].url, LINKS[0].caption),
    (LINKS[1].url, "Zwei Zeilen\nin  einer"),
    (LINKS[0].url, "the same address again"),
]


def written(path, names=("url", "caption"), rows=ROWS):
    kind = path.suffix
    entries = [dict(zip(names, row, strict=True)) for row in rows]
    if kind == ".jsonl":
        path.write_text("\n".join(map(json.dumps, entries)))
    elif kind == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(entries), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            delimiter = "\t" if kind == ".tsv" else ","
            lines = csv.DictWriter(file, names, delimiter=delimiter)
            lines.writeheader()
            lines.writerows(entries)
    return path


@pytest.mark.parametrize("names", [("url", "caption"), ("URL", "TEXT")])
@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_list_is_read_whatever_its_format(tmp_path, kind, names):
    assert read(written(tmp_path / f"members.{kind}", names)) == LINKS


BAD = {
    "kind": ("members.txt", "http://x\n", r"is of an unknown kind; give a file of"),
    "empty": ("members.csv", "url,caption\n", r"members.csv: holds no rows; give"),
    "columns": ("members.csv", "link,caption\na,b\n", r"row 1: has no url or URL; giv"),
    "caption": ("members.csv", "url,caption\na,b\nc,\n", r"row 2: has no caption or T"),
    "short": ("members.tsv", "url\tcaption\na\n", r"row 1: has no caption"),
    "json": ("members.jsonl", '{"url": ', r"members.jsonl cannot be read \("),
    "list": ("members.jsonl", "[1]\n", r"row 1: has no url"),
    "number": ("members.jsonl", '{"url": 3, "caption": "x"}', r"row 1: has no url"),
    "bytes": ("members.csv", b"url,caption\n\xff\xfe,x\n", r"cannot be read \(.*utf-8"),
    "parquet": ("members.parquet", b"PAR1 no", r"members.parquet cannot be read \("),
}


@pytest.mark.parametrize("case", BAD)
def test_a_damaged_list_is_one_line(tmp_path, case):
    name, data, message = BAD[case]
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(UserError, match=message) as told:
        read(path)
    assert "\n" not in str(told.value)


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "members.parquet"
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"needs the package pyarrow.*or give.*as csv"):
        read(path)


def creatures(root, count=12):
    names = write_folder(root, pictures(count), [f"{i:04d}.png" for i in range(count)])
    write_captions(root, {name: f"a drawing of {name}" for name in names})
    return names


def test_the_controls_lists_are_the_draw_of_the_authors_method(tmp_path):
    names = creatures(tmp_path)
    lists = draw(tmp_path, 7, 4)
    order = np.random.default_rng(2137).permutation(12)
    assert set(lists.nonmembers) == {names[i] for i in order[:4]}
    assert set(lists.members) == {names[i] for i in order[4:11]}
    assert not {*lists.members} & {*lists.nonmembers}
    assert draw(tmp_path, 7, 4) == lists
    assert draw(tmp_path, 7, 4, seed=1) != lists
    assert lists.shared == ()


def test_a_member_among_the_non_members_is_told(tmp_path):
    creatures(tmp_path)
    lists = draw(tmp_path, 7, 4)
    copy = (tmp_path / lists.members[0]).read_bytes()
    (tmp_path / lists.nonmembers[1]).write_bytes(copy)
    assert draw(tmp_path, 7, 4).shared == (lists.nonmembers[1],)


@pytest.mark.parametrize("case", ["few", "bare", "one", "none"])
def test_what_is_no_control_is_one_line(tmp_path, case):
    names = creatures(tmp_path)
    message = r"holds 12 images, and 833 are asked for; give all images"
    if case == "bare":
        (tmp_path / "captions.csv").unlink()
        message = r"has no captions; give captions.csv"
    elif case == "one":
        write_captions(tmp_path, dict.fromkeys(names[1:], "x"))
        message = r"has no caption of \['0000.png'\]"
    elif case == "none":
        message = r"folder .*: does not exist"
    with pytest.raises(UserError, match=message):
        draw(tmp_path / "none" if case == "none" else tmp_path)


def test_the_controls_command_writes_the_lists_once(tmp_path):
    creatures(tmp_path)
    command = [sys.executable, "-m", "score_mia.papers.laion_mi.pokemon"]
    command += [f"--images={tmp_path}", "--members=7", "--nonmembers=4"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "7 members, 4 non-members" in run.stdout
    lists = draw(tmp_path, 7, 4)
    assert (tmp_path / "members.txt").read_text().split() == [*lists.members]
    run = subprocess.run(
        [*command, "--seed=1"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "members.txt: holds other images; remove or rename it" in run.stderr


def naive(scores, member, fpr, size, resamples, seed):
    """The paper's procedure, word by word, on all thresholds."""
    random = np.random.RandomState(seed)
    groups = [
        [s for s, m in zip(scores, member, strict=True) if m == g] for g in (1, 0)
    ]
    rates = []
    for _ in range(resamples):
        drawn = []
        for group in groups:
            count = min(size, len(group))
            chosen = random.choice(len(group), count, replace=False)
            drawn.append([group[i] for i in chosen])
        best = 0.0
        for threshold in drawn[0] + drawn[1]:
            tpr, rate = (
                sum(s >= threshold for s in group) / len(group) for group in drawn
            )
            if rate <= fpr:
                best = max(best, tpr)
        rates.append(best)
    mean = sum(rates) / resamples
    return mean, (sum((r - mean) ** 2 for r in rates) / resamples) ** 0.5


@pytest.mark.parametrize("fpr", [0.01, 0.1])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("counts", [(60, 80), (30, 80)])
def test_the_resampled_rate_is_that_of_a_naive_loop(counts, ties, fpr):
    random = np.random.default_rng(3)
    member = np.arange(sum(counts)) < counts[0]
    scores = random.normal(member * 1.0)
    scores = np.round(scores) if ties else scores
    order = random.permutation(len(scores))
    scores, member = scores[order], member[order]
    told = resampled_tpr(scores, member, fpr, size=50, resamples=7, seed=5)
    want = naive(scores, member, fpr, 50, 7, 5)
    assert (told.mean, told.sd) == pytest.approx(want)
    assert (told.members, told.nonmembers) == (min(50, counts[0]), 50)


def test_the_sd_says_nothing_of_other_images():
    random = np.random.default_rng(0)
    member = np.arange(400) < 200
    scores = random.normal(member * 1.0)
    whole = resampled_tpr(scores, member)  # 1,000 of 200: all of them, each time
    assert whole.sd == pytest.approx(0, abs=1e-12)
    assert (whole.members, whole.nonmembers, whole.resamples) == (200, 200, 100)
    assert 0 < whole.mean < 1
    assert resampled_tpr(scores, member, size=100).sd > 0


def test_scores_are_larger_for_members():
    member = np.arange(200) < 100
    assert resampled_tpr(member * 1.0, member).mean == 1
    assert resampled_tpr(member * -1.0, member).mean == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 0}, "size=0: is below 1"),
        ({"resamples": 0}, "resamples=0: is below 1"),
        ({"seed": -1}, "seed=-1: is outside"),
        ({"fpr": 2.0}, "fpr=2.0: is outside"),
        ({"member": np.ones(4, bool)}, "there are no non-members among 4"),
        ({"scores": np.array([0, np.nan, 1, 2])}, "holds 1 NaN"),
    ],
)
def test_counts_that_cannot_be(change, message):
    given = {"scores": np.arange(4.0), "member": np.array([True, False] * 2)}
    with pytest.raises(UserError, match=message):
        resampled_tpr(**(given | change))
