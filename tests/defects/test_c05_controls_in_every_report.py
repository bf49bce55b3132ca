"""README and docs promise a blind classifier and near-duplicates in every report; both
were told only where they warned, and nothing said how far apart the groups are.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from score_mia.auditing import checks as room
from score_mia.auditing.checks import checks
from score_mia.auditing.work import Work, open_work
from score_mia.check import UserError
from score_mia.data.source import ArraySource
from score_mia.data.split import Split
from score_mia.report.controls import warnings
from tests.defects.test_a03_blind_interval import faces
from tests.defects.tiny_work import edit, plan

ESTIMATE = {"value", "low", "high", "resolvable"}


def work(finished, folder, pixels, members=200, reference=0):
    """A run on these images with the finished run's target; the first are members."""
    n = len(pixels)
    names = tuple(f"folder/{i:04d}.png" for i in range(n))
    source = ArraySource("test", pixels, np.arange(n) * 3, None, names)
    known = np.arange(n) % members < reference
    split = Split(source.ids, np.arange(n) < members, known, source.digest)
    made = Work(plan(), folder, source, split)
    made.__dict__["target"] = open_work(plan(), finished).target
    return made


def test_an_audit_without_a_warning_has_all_four(finished):
    controls = json.loads((finished / "metrics.json").read_text())["controls"]
    assert set(controls) == {"blind", "near_duplicates", "repeats", "shift"}
    blind, shift = controls["blind"], controls["shift"]
    assert set(blind) == {"auc", "p_value", "members", "nonmembers"}
    assert set(blind["auc"]) == ESTIMATE
    assert 0 < blind["p_value"] <= 1
    assert (blind["members"], blind["nonmembers"]) == (24, 40)
    assert set(controls["near_duplicates"]) == {
        *("pairs", "exact_pairs", "members", "nonmembers", "threshold", "complete")
    }
    assert shift["encoder"] == "random_conv"
    assert shift["kid"]["n"] == [12, 20]  # evaluation images
    assert shift["kid"]["low"] <= shift["kid"]["value"] <= shift["kid"]["high"]


def test_equal_groups_raise_no_warning(finished, tmp_path):
    found = checks(work(finished, tmp_path, faces(400)))
    assert warnings(found.controls) == []
    assert found.controls.shift.kid.low <= 0


def test_another_kind_of_images_is_told_by_each(finished, tmp_path):
    pixels = faces(400)
    pixels[:200] = np.clip(pixels[:200] * 0.7 + 0.2, 0, 1)
    found = checks(work(finished, tmp_path, pixels))
    words = " ".join(warnings(found.controls))
    assert found.controls.shift.kid.low > 0
    assert found.controls.blind.p_value <= 0.05
    assert "two different kinds of images: their KID by random_conv is" in words
    assert "the two groups differ by themselves" in words


def test_pairs_are_listed_with_ids_names_and_distance(finished, tmp_path, monkeypatch):
    pixels = faces(400)
    pixels[250] = pixels[7]
    pixels[399] = np.clip(pixels[0] + 0.02, 0, 1)
    found = checks(work(finished, tmp_path, pixels))
    assert found.controls.near_duplicates.pairs == 2
    kept = json.loads((tmp_path / "checks.json").read_text())
    first, second = kept["near_duplicates"]["listed"]
    assert first == {
        **{"member": 21, "nonmember": 750, "rmse": 0.0},
        **{"member_file": "folder/0007.png", "nonmember_file": "folder/0250.png"},
    }
    assert (second["member"], second["nonmember"]) == (0, 1197)
    assert 0 < second["rmse"] <= 0.02 + 1e-6


def test_the_list_is_bounded_and_keeps_the_closest(finished, tmp_path):
    pixels = faces(80)
    pixels[1:] = pixels[0]
    pixels[3] = np.clip(pixels[3] + 0.01, 0, 1)
    checks(work(finished, tmp_path, pixels, members=40))
    kept = json.loads((tmp_path / "checks.json").read_text())["near_duplicates"]
    assert kept["pairs"] == 1600
    assert len(kept["listed"]) == 1000
    assert {pair["rmse"] for pair in kept["listed"]} == {0.0}


def test_so_few_images_that_nothing_can_be_said_leave_a_control_out(finished, tmp_path):
    found = checks(work(finished, tmp_path, faces(4), members=2))
    assert found.controls.shift is None
    assert found.controls.blind is not None
    found = checks(work(finished, tmp_path, faces(4), members=1))
    assert (found.controls.shift, found.controls.blind) == (None, None)


def test_a_changed_digit_is_refused(finished, tmp_path):
    one = work(finished, tmp_path, faces(100), members=50)
    value = checks(one).controls.blind.auc.value
    edit(tmp_path / "checks.json", blind__auc__value=value / 2)
    with pytest.raises(UserError, match=r"checks.json is damaged.*delete it"):
        checks(one)


def test_another_split_or_target_is_noticed(finished, tmp_path, monkeypatch):
    pixels = faces(100)
    first = checks(work(finished, tmp_path, pixels, members=50))
    again = checks(work(finished, tmp_path, pixels, members=60))
    assert again.controls.blind.members == 60
    assert first.controls.blind.members == 50
    made = []
    monkeypatch.setattr(room, "_run", lambda w: made.append(w) or {"grid": {}})
    monkeypatch.setattr(Work, "digest", "another")
    checks(work(finished, tmp_path, pixels, members=60))  # by the stub above
    assert len(made) == 1


def test_what_is_unchanged_is_not_made_again(finished, tmp_path, monkeypatch):
    one = work(finished, tmp_path, faces(60), members=30)
    first = checks(one)
    monkeypatch.setattr(room, "_run", None)
    assert checks(one) == first
