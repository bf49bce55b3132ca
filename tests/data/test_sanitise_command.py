"""`score-mia sanitise` end to end, on bundled emoji with a planted shift."""

from __future__ import annotations

import csv
import dataclasses
import json

import numpy as np
import pytest

from score_mia import cli
from score_mia.auditing import sanitising
from score_mia.check import UserError
from score_mia.data import SOURCES
from score_mia.data.given import files
from score_mia.encoders import Pixels
from score_mia.files import load_sealed

FEW = dict(classifiers=("linear",), components=6, permutations=99)


def emoji():
    return SOURCES["bundled"](dataset="emoji")


def config(**sections):
    """Members of the part "pretrain", candidates of "nonmembers" and "auxiliary"."""
    given = dict(
        seed=1,
        data=dict(name="bundled", dataset="emoji"),
        members=dict(folder="pretrain"),
        nonmembers=dict(folder="nonmembers"),
        encoder=dict(name="pixels", size=4),
        duplicates=dict(threshold=0.02),
        rounds=FEW,
        report=dict(pairs=3, bins=(0.0, 0.02, 0.1, 0.5)),
    )
    return {**given, **sections}


def tilted(source, slope=1.5):
    """Pools of which one is the brighter: bright images are members more often."""
    level = source.images(source.ids).mean(axis=(1, 2, 3), dtype=np.float64)
    z = (level - level.mean()) / level.std()
    member = np.random.RandomState(0).random_sample(len(z)) < 1 / (
        1 + np.exp(-slope * z)
    )
    return dict(
        members=dict(listed=source.ids[member].tolist()),
        nonmembers=dict(listed=source.ids[~member].tolist()),
    )


def run(folder, **sections):
    text = sanitising.run(sanitising.plan(config(**sections)), folder)
    return text, load_sealed(folder / "sanitised.json")


def names(path):
    return path.read_text().splitlines()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run on pools that carry a shift, by the command line."""
    folder = tmp_path_factory.mktemp("sanitise")
    path = folder / "config.json"
    path.write_text(json.dumps(config(**tilted(emoji()))))
    argv = [f"--config={path}", f"--workdir={folder / 'run'}"]
    assert cli.main(["score-mia", "sanitise", *argv]) == 0
    return folder / "run", argv


def test_the_shift_is_there_before_and_not_found_after(done):
    record = load_sealed(done[0] / "sanitised.json")
    before, after = (record["test"][when]["image"] for when in ("before", "after"))
    assert before["auc"]["low"] > 0.6
    assert after["auc"]["low"] <= 0.5 <= after["auc"]["high"]
    assert len(record["rounds"]["made"]) == 1
    whole, made = record["frechet"]["before"], record["frechet"]["after"]
    key = "members_to_nonmembers"
    assert made[key]["value"] < whole[key]["value"] / 2
    for found in (whole, made):
        assert len({tuple(one["n"]) for one in found.values()}) == 1
    page = (done[0] / "sanitised.md").read_text()
    assert "No difference between the lists is found" in page
    assert f"{before['auc']['value']:.3f} [{before['auc']['low']:.3f}" in page


def test_the_lists_are_read_by_the_split(done):
    source = emoji()
    split = files(source, str(done[0] / "members.txt"), str(done[0] / "nonmembers.txt"))
    record = load_sealed(done[0] / "sanitised.json")
    assert len(split.members) == record["lists"]["members"]
    assert len(split.nonmembers) == record["lists"]["nonmembers"]
    pools = tilted(source)
    assert set(split.members.tolist()) <= set(pools["members"]["listed"])
    assert set(split.nonmembers.tolist()) <= set(pools["nonmembers"]["listed"])


def test_every_image_has_its_fate(done):
    with (done[0] / "images.csv").open() as file:
        rows = list(csv.DictReader(file))
    record = load_sealed(done[0] / "sanitised.json")
    assert len(rows) == len(emoji().ids)
    for role in ("member", "nonmember"):
        listed = [
            r["image"] for r in rows if r["pool"] == role and r["fate"] == "listed"
        ]
        assert listed == names(done[0] / f"{role}s.txt")
        # None of the images that classifiers were trained on is in a list.
        fates = {r["fate"] for r in rows if r["part"] == "fit" and r["pool"] == role}
        assert fates <= {"fit", "filtered"}
    lost = [r for r in rows if r["fate"] == "duplicate"]
    assert len(lost) == record["duplicates"]["duplicates"] > 0
    assert all(float(r["distance"]) < 0.02 for r in lost)


def test_the_same_command_gives_the_same_files(done, tmp_path):
    argv = ["score-mia", "sanitise", done[1][0], f"--workdir={tmp_path / 'again'}"]
    assert cli.main(argv) == 0
    for name in ("members.txt", "nonmembers.txt", "images.csv", "sanitised.json"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (done[0] / name).read_bytes()


def test_a_dry_run_counts_and_touches_nothing(done, tmp_path, capsys):
    folder = tmp_path / "none"
    argv = [done[1][0], f"--workdir={folder}", "--dry_run"]
    assert cli.main(["score-mia", "sanitise", *argv]) == 0
    assert "1,868 images of (32, 32, 3)" in capsys.readouterr().out
    assert not folder.exists()


def test_pools_of_one_law_stay_as_they_are(tmp_path):
    ids = np.random.RandomState(5).permutation(emoji().ids)
    text, record = run(
        tmp_path,
        members=dict(listed=ids[:900].tolist()),
        nonmembers=dict(listed=ids[900:].tolist()),
        duplicates=dict(threshold=0.0),
    )
    assert "rounds: 0; the test on select finds no difference" in text
    assert record["lists"] == {"members": 900, "nonmembers": 968}


def test_the_images_that_a_condition_leaves_out_are_still_in_training(tmp_path):
    """A member that is not used may be the duplicate of a candidate all the same."""
    source = emoji()
    known = source.columns(source.ids, ("file",))["file"]
    rows = [
        [known[i], 6 if k % 2 else 4]
        for k, i in enumerate(i for i in source.ids if known[i].startswith("pretrain"))
    ]
    path = tmp_path / "members.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "aesthetic"], *rows])
    pool = dict(listed=str(path), where=dict(aesthetic=dict(above=5.0)))
    _, whole = run(tmp_path / "a")
    _, half = run(tmp_path / "b", members=pool)
    assert half["pools"]["members"] == {"named": 918, "in_data": 918, "used": 459}
    assert half["duplicates"]["nearest"] == whole["duplicates"]["nearest"]


def test_captions_and_a_text_encoders_features(tmp_path):
    path, source = tmp_path / "text.npz", emoji()
    x = np.random.RandomState(0).randn(len(source.ids), 5)
    x[: len(x) // 2] += 1
    np.savez(path, ids=source.ids, features=x)
    ids = source.ids.tolist()
    half = dict(
        members=dict(listed=ids[: len(x) // 2]),
        nonmembers=dict(listed=ids[len(x) // 2 :]),
    )
    rounds = dict(FEW, classifiers=(), features=("image", "caption"))
    _, plain = run(tmp_path / "a", **half, rounds=rounds)
    _, told = run(tmp_path / "b", **half, rounds=dict(rounds, prompts=str(path)))
    assert set(plain["test"]["before"]) == {"image", "caption", "all"}
    words, features = (r["test"]["before"]["caption"]["auc"] for r in (plain, told))
    assert words["low"] < 0.5 < words["high"]  # the order of the emoji is random
    assert features["low"] > 0.8
    assert told["rounds"]["reason"] == "the rounds are used up"
    assert told["test"]["before"] == told["test"]["after"]


# --- an index of neighbours, and judged pairs -----------------------------------------


def index_of(folder, rows):
    path = folder / "index.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["candidate", "neighbour", "distance"], *rows])
    return str(path)


def test_an_index_stands_for_the_search(tmp_path):
    """Its distances count as they are; those it does not tell are measured."""
    source = emoji()
    known = source.columns(source.ids, ("file",))["file"]
    outside = [n for n in known if n.startswith("nonmembers")]
    inside = [n for n in known if n.startswith("pretrain")]
    rows = [
        *([name, "elsewhere", 0.5] for name in outside[2:300]),
        [outside[0], "elsewhere", 0.4],
        [outside[1], "dead-link", ""],
        [outside[2], inside[0], ""],  # measured, and closer than 0.5
    ]
    path = index_of(tmp_path, rows)
    _, record = run(tmp_path / "run", duplicates=dict(index=path, threshold=0.5))
    with (tmp_path / "run" / "images.csv").open() as file:
        table = {r["image"]: r for r in csv.DictReader(file)}
    assert table[outside[0]]["fate"] == "duplicate"
    assert table[outside[1]]["fate"] == "no neighbour"
    ids = [int(source.ids[known == n][0]) for n in (outside[2], inside[0])]
    x = source.images(np.asarray(ids))
    blocks = (2 * x - 1).reshape(2, 4, 8, 4, 8, 3).mean(axis=(2, 4)).reshape(2, -1)
    unit = blocks / np.linalg.norm(blocks, axis=1, keepdims=True)
    measured = np.linalg.norm(unit[0] - unit[1])
    assert float(table[outside[2]]["distance"]) == pytest.approx(
        min(measured, 0.5), abs=1e-5
    )
    for name in outside[3:300]:  # on the threshold itself
        assert table[name]["fate"] in ("listed", "fit", "filtered")
    count = len(outside)
    assert record["duplicates"]["without_neighbour"] == count - 299
    assert record["duplicates"]["by"] == "index file"


def test_judged_pairs_give_a_share_of_each_bin(tmp_path):
    run(tmp_path)
    path = tmp_path / "pairs.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [r["bin"] for r in rows] == sorted(r["bin"] for r in rows)
    answers = iter(["yes", "yes", "no", "no", "no", ""])
    for row in rows[:6]:
        row["duplicate"] = next(answers)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    kept = path.read_bytes()
    _, record = run(tmp_path)
    assert path.read_bytes() == kept  # nobody's work is written over
    first, second, third = record["duplicates"]["judged"]
    assert (first["judged"], first["duplicates"]) == (3, 2)
    # Clopper and Pearson of 2 in 3: 0.0943 to 0.9916.
    assert first["share"]["low"] == pytest.approx(0.0943, abs=1e-4)
    assert first["share"]["high"] == pytest.approx(0.9916, abs=1e-4)
    assert (second["judged"], second["duplicates"]) == (2, 0)
    assert (third["judged"], third.get("share")) == (0, None)
    assert "66.7% [9.4%, 99.2%]" in (tmp_path / "sanitised.md").read_text()
    with pytest.raises(UserError, match="holds judgements of other pairs"):
        run(tmp_path, seed=2)
    copy = tmp_path / "judged.csv"
    path.rename(copy)
    report = dict(config()["report"], judged=str(copy))
    _, other = run(tmp_path, seed=2, report=report)
    assert other["duplicates"]["judged"] == record["duplicates"]["judged"]


def test_pictures_only_if_one_asks(tmp_path):
    report = config()["report"]
    run(tmp_path, report=dict(report, pictures=True))
    page = tmp_path / "pairs.html"
    with (tmp_path / "pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert page.read_text().count("<img ") == 2 * len(rows)
    run(tmp_path, report=report)
    assert not page.exists()


# --- what is refused ------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class NotANumber(Pixels):
    """An encoder that gives NaN."""

    def apply(self, params, images):
        return {"pooled": super().apply(params, images)["pooled"] * np.nan}


FAULTS = {
    "no members": (dict(members=None), "config section 'members': is missing"),
    "unknown section": (dict(member={}), "did you mean 'members'"),
    "title": (dict(title=5), "title=5 is a whole number"),
    "seed": (dict(seed=-1), "config: seed=-1: is outside"),
    "empty folder": (dict(members=dict(folder="x")), "holds no image of the data"),
    "empty list": (dict(members=dict(listed=[])), "split members: holds no ids"),
    "unknown id": (dict(members=dict(listed=[10**6])), "1 of them are not in the data"),
    "both": (
        dict(members=dict(folder="nonmembers")),
        "images are nonmembers and members",
    ),
    "neighbours": (
        dict(duplicates=dict(neighbours=dict(folder="nonmembers"))),
        "images are nonmembers and duplicates.neighbours",
    ),
    "pool field": (dict(members=dict(files="x")), "has no field 'files'"),
    "encoder": (dict(encoder=dict(name="pixel")), "did you mean 'pixels'"),
    "nan": (
        dict(encoder=dict(name="tests.data.test_sanitise_command:NotANumber")),
        "features of nonmembers: holds",
    ),
    "threshold": (dict(duplicates=dict(threshold=-1.0)), "threshold=-1.0: is outside"),
    "all gone": (dict(duplicates=dict(threshold=2.0)), "leaves none of 400 candidates"),
    "index and neighbours": (
        dict(duplicates=dict(index="x.csv", neighbours=dict(folder="auxiliary"))),
        "give both neighbours and an index",
    ),
    "index": (
        dict(duplicates=dict(index="none.csv")),
        "index none.csv: does not exist",
    ),
    "where": (
        dict(duplicates=dict(where=dict(a=dict(above=1.0)))),
        "is about an index, and there is none",
    ),
    "classifier": (dict(rounds=dict(classifiers=("tree",))), "'tree' is unknown"),
    "classifier field": (
        dict(rounds=dict(classifiers=(dict(name="mlp", widths=(3,)),))),
        "has no field 'widths'",
    ),
    "features": (dict(rounds=dict(features=("text",))), "'text': is unknown"),
    "no features": (dict(rounds=dict(features=())), "rounds.features: is empty"),
    "prompts": (dict(rounds=dict(prompts="x.npz")), "no classifier sees captions"),
    "captions": (
        dict(
            data=dict(name="bundled", dataset="digits"),
            members=dict(listed=list(range(900))),
            nonmembers=dict(listed=list(range(900, 1797))),
            duplicates=dict(threshold=0.0),
            rounds=dict(FEW, features=("caption",)),
        ),
        "the data have no captions",
    ),
    "few": (
        dict(members=dict(listed=[0, 1, 2]), duplicates=dict(threshold=0.0)),
        "images of a class in part 'fit'",
    ),
    "bins": (dict(report=dict(bins=(0.5, 0.1))), "are no bins"),
    "judged": (dict(report=dict(judged="none.csv")), "pairs none.csv: does not exist"),
    "report field": (dict(report=dict(picture=True)), "has no field 'picture'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_wrong_is_told_in_one_line(name, tmp_path):
    sections, words = FAULTS[name]
    given = {k: v for k, v in config(**sections).items() if v is not None}
    with pytest.raises(UserError) as caught:
        sanitising.run(sanitising.plan(given), tmp_path / "run")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "members.txt").exists()
