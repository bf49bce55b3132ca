"""Copies among an audit's samples: kept, verified, and shown only where allowed."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest

from score_mia.auditing import plan as build
from score_mia.auditing.stages import attack, run
from score_mia.auditing.verify import verify
from score_mia.auditing.work import look
from score_mia.check import UserError
from score_mia.cli import main
from score_mia.files import load_sealed, save_json, save_sealed
from score_mia.metrics.copies import Copies, Copying
from score_mia.report import load, remake
from score_mia.typed import from_json
from tests.auditing import tiny_quality
from tests.report.test_page import Page


def config(**copies):
    made = tiny_quality.get_config()
    made.train.update(steps=4, checkpoint_every=4, log_every=2)
    made.quality.seed = 5
    if copies:
        made.copies = copies
    return made


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An audit with two samples for the page and six of another seed for quality."""
    folder = tmp_path_factory.mktemp("copies") / "run"
    plan = build.plan(config())
    run(plan, folder)
    return plan, folder


def record(folder) -> Copies:
    return from_json(Copies, load_sealed(folder / "copies.json")["copies"], "copies")


def page(folder):
    text = (folder / "report" / "index.html").read_text(encoding="utf-8")
    return Page(text.replace("\N{NO-BREAK SPACE}", " "))


def test_every_sample_is_held_against_every_image(done):
    plan, folder = done
    work = look(plan, folder)
    images = []
    for seed, count in ((0, 2), (5, 6)):
        parts = sorted((folder / "samples" / f"step-000004-seed-{seed}").glob("part-*"))
        images.append(np.concatenate([np.load(p)["images"] for p in parts])[:count])
    samples = np.concatenate(images) / 255
    with np.load(folder / "copies.npz") as kept:
        assert kept["seed"].tolist() == [0] * 2 + [5] * 6
        assert kept["number"].tolist() == [0, 1, 0, 1, 2, 3, 4, 5]
        for group, ids in (
            ("members", work.split.members),
            ("nonmembers", work.split.nonmembers),
        ):
            pixels = np.rint(255 * work.source.images(ids)) / 255
            far = np.sqrt(((samples[:, None] - pixels) ** 2).mean((2, 3, 4)))
            np.testing.assert_allclose(kept[f"{group}_nearest"], far.min(1))
            np.testing.assert_array_equal(kept[f"{group}_index"], ids[far.argmin(1)])
            mean = np.sort(far)[:, :50].mean(1)
            np.testing.assert_allclose(kept[f"{group}_mean"], mean)
    said = record(folder)
    assert (said.samples, said.setting) == (8, Copying())
    assert (said.members.images, said.members.neighbours) == (24, 24)
    assert (said.nonmembers.images, said.nonmembers.neighbours) == (40, 40)
    assert said.nearer.expected == 24 / 64


def test_the_table_of_numbers_has_them(done):
    _, folder = done
    said = record(folder)
    with (folder / "report" / "attacks.csv").open(newline="") as file:
        rows = {r["measure"]: r for r in csv.DictReader(file)}
    row = rows["near_copies_of_members"]
    assert float(row["value"]) == said.members.rate.value
    assert float(row["high"]) == said.members.rate.high
    assert (row["attack"], row["members"]) == ("samples", "24")
    assert row["remark"] == "8 samples"
    assert float(rows["nearer_to_members"]["value"]) == said.nearer.share.value
    assert float(rows["nearer_to_members_p_value"]["value"]) == said.nearer.p_value


def test_a_gate_may_speak_of_them(done, capsys):
    _, folder = done
    said = record(folder).members.rate
    for limit, status in ((said.low - 0.01, 3), (said.low + 0.01, 0)):
        call = ["score-mia", "report", f"--workdir={folder}"]
        assert main([*call, f"--fail_if=copies>{limit}"]) == status
    assert "the audit has copies.low" in capsys.readouterr().err


def test_the_page_tells_of_copies_and_shows_none(done):
    _, folder = done
    found = page(folder)
    for text in (
        "Copies among the samples",
        "Near-copies of members",
        "Near-copies of non-members",
        "37.5 % expected",
        "There are 24 training images only, fewer than the 50 neighbours asked for",
        "The groups differ in size (24 and 40)",
        "Each of 8 samples was held against 24 training images",
    ):
        assert text in found.text
    assert "img" not in found.tags
    assert load(folder).nearest.samples is None


def test_pairs_are_shown_where_pictures_are_allowed(done, tmp_path):
    plan, folder = done
    shown = dataclasses.replace(plan.report, pictures=True)
    copy = shutil.copytree(folder, tmp_path / "run")
    before = (copy / "copies.npz").stat().st_mtime_ns
    run(dataclasses.replace(plan, report=shown), copy)
    near, work = load(copy).nearest, look(plan, copy)
    assert near.samples.shape == near.members.shape == (8, 8, 8, 1)
    assert np.all(np.diff(near.relative) >= 0)
    far = np.sqrt(((near.samples - near.members) ** 2).mean((1, 2, 3)))
    # The digits have 17 levels of grey; distances are of 8 bits.
    np.testing.assert_allclose(far, near.distances, atol=1 / 255)
    members = work.source.images(work.split.members)
    assert all((image == members).all((1, 2, 3)).any() for image in near.members)
    found = page(copy)
    assert f"{near.distances[0]:.3f} ({near.relative[0]:.2f})" in found.text
    assert "The 8 closest of 8 samples" in found.text
    # The search was made once.
    assert (copy / "copies.npz").stat().st_mtime_ns == before


def test_verify_recomputes_the_statements(done, tmp_path):
    _, folder = done
    whole = verify(folder)
    assert (whole.differing, whole.unchecked) == ([], ["target", "controls"])
    copy = shutil.copytree(folder, tmp_path / "run")
    kept = load_sealed(copy / "copies.json")
    kept["copies"]["members"]["copies"] += 1
    save_sealed(copy / "copies.json", kept)
    (line,) = verify(copy).differing
    assert line.name == "copies.members.copies"
    assert "copies.json says" in verify(copy).text
    (copy / "copies.npz").unlink()
    assert verify(copy).unchecked == ["target", "controls", "copies"]
    (copy / "copies.json").unlink()
    fewer = verify(copy)
    assert (fewer.differing, fewer.unchecked) == ([], ["target", "controls"])
    assert fewer.numbers < whole.numbers


def test_settings_are_judged_anew_on_the_same_distances(done, tmp_path):
    _, folder = done
    copy = shutil.copytree(folder, tmp_path / "run")
    before = (copy / "copies.npz").read_bytes()
    loose = build.plan(config(alpha=100.0))
    save_json(copy / "config.json", loose.config)
    attack(loose, copy)
    assert (copy / "copies.npz").read_bytes() == before
    said = record(copy)
    assert said.members.rate.value == said.nonmembers.rate.value == 1
    remake(copy)
    assert "8 of 8 samples nearly repeat a training image" in page(copy).text
    attack(build.plan(config(neighbours=3)), copy)
    assert record(copy).members.neighbours == 3
    assert (copy / "copies.npz").read_bytes() != before


def test_an_audit_without_samples_says_nothing_of_copies(done, tmp_path):
    _, folder = done
    copy = shutil.copytree(folder, tmp_path / "run")
    without = config()
    del without.quality
    without.report.samples = 0
    run(build.plan(without), copy)
    assert not list(copy.glob("copies.*"))
    assert load(copy).copies is None
    assert "Copies among the samples" not in page(copy).text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (dict(alpha=0.0), "copies.alpha=0"),
        (dict(neighbours=1), "copies.neighbours=1"),
        (dict(n=50), "'n'"),
        (dict(threshold="1"), "threshold"),
    ],
)
def test_wrong_settings_are_told_before_training(fields, said):
    with pytest.raises(UserError, match=said):
        build.plan(config(**fields))


def test_records_are_plain_numbers(done):
    _, folder = done
    kept = json.loads((folder / "copies.json").read_text())
    assert set(kept) == {"copies", "facts", "seal", "seed", "target"}
    # Neither ids of images nor their names are in what a page is made of.
    assert "index" not in json.dumps(kept)
