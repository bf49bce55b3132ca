"""`report` computed everything again and wrote another machine and other seconds into
metrics.json; imported targets were shown with the passes and settings of a training
that never took place.
"""

from __future__ import annotations

import json
import shutil

import pytest

from score_mia import auditing, device, engine
from score_mia.check import Incomplete
from score_mia.files import load_sealed, save_sealed
from score_mia.study.finished import is_finished
from tests.helpers import signal_folder

from .tiny_work import config, contents, plan, refused


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def another():
    """The loss attack once more, at other times."""
    attack = config().attacks.loss
    attack.signal.times = 3
    return attack


@pytest.fixture
def elsewhere(monkeypatch):
    """The same programs on a machine of another name, without a chance to compute."""
    monkeypatch.setattr(device, "name", lambda: "8 x abacus")
    monkeypatch.setattr(engine, "_program", None)


def test_a_report_leaves_metrics_as_they_are(finished, tmp_path, elsewhere):
    folder = shutil.copytree(finished, tmp_path / "run")
    path = folder / "metrics.json"
    written = path.stat().st_mtime_ns
    (folder / "report" / "index.html").unlink()
    auditing.report(plan(), folder)
    assert (folder / "report" / "index.html").exists()
    assert path.read_bytes() == (finished / "metrics.json").read_bytes()
    assert path.stat().st_mtime_ns == written
    assert contents(folder / "signals") == contents(finished / "signals")
    # The page names the machine that computed, too.
    assert "abacus" not in (folder / "report" / "index.html").read_text()
    path.unlink()  # as after a kill: written again, and the same
    auditing.report(plan(), folder)
    assert path.read_bytes() == (finished / "metrics.json").read_bytes()


def test_a_page_never_stands_beside_other_numbers(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    page, other = folder / "report" / "index.html", plan(title="Another title")
    assert is_finished(plan(), folder)
    auditing.attack(plan(), folder)
    assert page.exists()
    auditing.attack(other, folder)
    assert not page.exists()
    auditing.report(other, folder)
    assert page.exists()
    assert is_finished(other, folder)
    assert not is_finished(plan(), folder)


def test_devices_are_those_of_the_signals(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    first = metrics(folder)["device"]
    monkeypatch.setattr(device, "name", lambda: "8 x abacus")
    auditing.attack(plan(attacks__again=another()), folder)
    assert metrics(folder)["device"] == ", ".join(sorted([first, "8 x abacus"]))
    auditing.report(plan(), folder)  # without that attack
    assert metrics(folder)["device"] == first


def test_a_report_computes_no_signals(finished, tmp_path, elsewhere):
    folder = shutil.copytree(finished, tmp_path / "run")
    shards = sorted(signal_folder(folder, "loss").glob("part-*"))
    shards[1].unlink()
    before = contents(folder)
    assert "run 'attack' with this workdir" in refused(auditing.report, plan(), folder)
    assert contents(folder) == before
    shutil.copy(signal_folder(finished, "loss") / shards[1].name, shards[1])
    added = plan(attacks__again=another())
    assert "attack 'again': has not all" in refused(auditing.report, added, folder)


def test_an_attack_that_failed_has_failed_in_the_report_too(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    value = metrics(folder)
    value["attacks"]["again"] = {"failed": "oh; no", "access": "scores"}
    save_sealed(folder / "metrics.json", value)
    with pytest.raises(Incomplete, match="attack 'again' failed") as caught:
        auditing.report(plan(attacks__again=another()), folder)
    assert "report: " in caught.value.done


def test_an_imported_target_has_no_training(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    page = folder / "report" / "index.html"
    for told in ("passes over them", "training seconds", "learning_rate"):
        assert told in page.read_text()
    path = folder / "target" / "target.json"
    about = load_sealed(path)
    for name in ("train", "identity"):
        del about["provenance"][name]
    came = {"file": "theirs.pth", "format": "score_sde", "sha256": "0" * 64}
    about["provenance"] |= {"imported": came, "seconds": None, "step": 1000}
    save_sealed(path, about)
    (folder / "target" / "train.jsonl").unlink()
    auditing.report(plan(), folder)
    assert metrics(folder)["target"]["imported"] == came
    assert metrics(folder)["target"]["steps"] == 1000
    text = page.read_text()
    assert "theirs.pth" in text
    for told in ("passes over them", "training seconds", "learning_rate"):
        assert told not in text
