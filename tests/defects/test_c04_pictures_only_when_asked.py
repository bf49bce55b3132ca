"""Training images were in every report, without a switch, and the docs said "mail it".

Whoever audited a model of patients' images and sent the page sent patients' images.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest

from score_mia.auditing import plan as build
from score_mia.auditing.content import _entry
from score_mia.auditing.stages import run
from score_mia.auditing.study import planned
from score_mia.check import UserError
from score_mia.files import save_json
from score_mia.report import NearestContent, load, write
from score_mia.report.exhibits import EXHIBITS, Audit
from score_mia.report.exhibits.page import Shown, _pictures
from score_mia.report.text import without_folders
from score_mia.results import AuditResult
from tests.auditing.tiny import get_config as tiny
from tests.report.example import attack, bare, changed, full
from tests.report.test_page import Page

CONFIGS = Path(__file__).parents[2] / "configs"


def page_of(folder):
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def audits(tmp_path_factory):
    """One target, with a report of the default and one that asks for pictures."""
    config = tiny()
    config.unlock()
    config.train.update(steps=4, checkpoint_every=4, log_every=2)
    del config.attacks.likelihood
    off = build.plan(config)
    config.report.pictures = True
    on = build.plan(config)
    folder = tmp_path_factory.mktemp("audit")
    run(off, folder / "off")
    # The same audit under the other config: only its report is made again.
    shutil.copytree(folder / "off", folder / "on")
    save_json(folder / "on" / "config.json", on.config)
    run(on, folder / "on")
    return {
        "off": Audit("off", "OFF", planned(off), folder / "off"),
        "on": Audit("on", "ON", planned(on), folder / "on"),
    }


def test_the_default_report_shows_no_picture(audits):
    folder = audits["off"].folder
    page = page_of(folder)
    assert "img" not in page.tags
    assert not {"samples.png", "perturbed.png"} & {
        p.name for p in (folder / "report").iterdir()
    }
    assert "This page shows no image" in page.text
    assert "report=dict(pictures=True)" in page.text
    assert "Each of 4 samples was held against 24 training images" in page.text
    assert "Holds real images" not in page.text


def test_a_report_that_asks_for_pictures_says_what_it_holds(audits):
    page = page_of(audits["on"].folder)
    held = [uri for uri in page.values("src") if uri.startswith("data:image/")]
    # 4 samples with their nearest members, 24 of each group, noised ones.
    assert len(held) > 2 * 4 + 24 + 24
    for said in (
        *("Holds real images", "24 training images (members)"),
        *("24 images the model never saw", "3 training images under noise"),
        "4 samples of the model, each beside the nearest training image",
    ):
        assert said in page.text


def test_a_report_made_again_without_pictures_removes_the_old_ones(tmp_path):
    no_attacks = {"attacks": (), "result": AuditResult()}
    small = dataclasses.replace(full(), **no_attacks, training=())
    write(tmp_path, small)
    assert (tmp_path / "samples.png").exists()
    none = dict.fromkeys(("members", "nonmembers", "perturbed"))
    near = NearestContent(np.array([0.0, 0.25, 0.5]), among=30)
    silent = dataclasses.replace(small, **none, nearest=near)
    page = Page(write(tmp_path, silent).read_text(encoding="utf-8"))
    assert "img" not in page.tags
    assert "is 0.000 at the least and 0.250 in the median" in page.text
    assert not {p.name for p in tmp_path.glob("*.png")} & {
        *("samples.png", "perturbed.png")
    }


def test_a_study_says_which_exhibits_hold_images(audits):
    made = EXHIBITS["samples"](count=4)
    built = {"a": made.build([audits["off"]]), "b": made.build([audits["on"]])}
    shown = Shown("", {}, {"a": made, "b": made}, {}, built, {}, {})
    assert _pictures(shown) == [("Samples of the targets", 4)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see /home/me/runs/a b/failed.txt", "see a b/failed.txt"),
        ("see /data/x/signals/loss/failed.txt; go", "see failed.txt; go"),
        ("runs/x/signals/part-00000.npz: damaged", "part-00000.npz: damaged"),
        (r"C:\Users\me\scan.png", "scan.png"),
        ("~/patients/0001.png is no image", "0001.png is no image"),
        ("0.1 bits/dim and 1/n; a/b", "0.1 bits/dim and 1/n; a/b"),
    ],
)
def test_folders_of_the_machine_are_not_told(text, expected):
    assert without_folders(text) == expected


def test_a_config_entry_tells_no_folder():
    said = _entry({"name": "folder", "path": "/home/me/patients", "size": 64})
    assert said == "folder (path patients, size 64)"


def test_lost_images_are_counted_and_not_named(tmp_path):
    lossy = bare(changed(attack(), non_finite=1))
    page = Page(write(tmp_path, lossy).read_text(encoding="utf-8"))
    assert "loss: 1 images gave NaN" in page.text


def test_files_of_an_audit_that_does_not_ask_hold_no_picture(audits):
    folder = audits["off"].folder
    made = load(folder)
    assert made.members is made.nonmembers is made.perturbed is None
    assert made.nearest.samples is made.nearest.members is None
    assert load(audits["on"].folder).members is not None
    with np.load(folder / "pictures.npz") as kept:
        assert set(kept) == {"distances", "relative", "among", "has", "seal"}


@pytest.mark.parametrize("kind", ["perturbed", "samples"])
def test_exhibits_leave_out_audits_that_do_not_ask(audits, kind):
    fields = {"times": (200,)} if kind == "perturbed" else {"count": 4}
    exhibit = EXHIBITS[kind](**fields)
    both = exhibit.build([audits["off"], audits["on"]])
    assert {s.name for s in both.strips} == {"ON"}
    assert "Pictures of OFF are left out" in both.caption
    assert "image_id" not in both.csv
    none = exhibit.build([audits["off"]])
    assert (none.strips, none.figure) == ((), None)
    assert none.table is not None
    assert "Pictures of OFF are left out" in none.caption


@pytest.mark.parametrize("value", [1, "yes", None])
def test_pictures_is_yes_or_no(value):
    config = tiny().to_dict()
    config["report"]["pictures"] = value
    with pytest.raises(UserError, match="pictures"):
        build.plan(config)


@pytest.mark.parametrize(
    ("file", "arg", "shown"),
    [
        ("quickstart.py", "", True),
        ("mini/study.py", "", True),
        ("paper/ffhq1k_ddpm.py", "", False),
        ("paper/drd1k_smld.py", "", False),
        ("paper/ffhq1k_ddpm.py", "small", True),
    ],
)
def test_configs_show_public_pictures_only(file, arg, shown):
    config = run_path(str(CONFIGS / file))["get_config"](arg).to_dict()
    audits = config.get("audits", {"": config}).values()
    assert {bool(one["report"].get("pictures")) for one in audits} == {shown}
