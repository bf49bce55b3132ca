"""`report` computed everything again and wrote another machine and other seconds into
metrics.json; imported targets were shown with the passes and settings of a training
that never took place.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys

import pytest

from score_mia import auditing, device, engine, report
from score_mia.auditing.study import is_finished
from score_mia.check import Incomplete
from score_mia.files import load_sealed, save_sealed
from score_mia.results import AttackResult, AuditResult, Imported

from .tiny_work import config, plan, refused


def timings(folder):
    return json.loads((folder / "timings.json").read_text())


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
    # Neither the model nor the data are needed.
    shutil.rmtree(folder / "signals")
    for place in (folder / "target").iterdir():
        if place.is_dir():
            shutil.rmtree(place)
    report.make(folder)
    assert (folder / "report" / "index.html").exists()
    assert path.read_bytes() == (finished / "metrics.json").read_bytes()
    assert path.stat().st_mtime_ns == written
    # The page names the machine that computed, too.
    assert "abacus" not in (folder / "report" / "index.html").read_text()
    path.unlink()
    assert "run 'attack'" in refused(report.make, folder)


def test_the_command_needs_no_config_and_imports_no_jax(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    code = (
        "import sys; from score_mia.cli import main; "
        f"status = main(['score-mia', 'report', '--workdir={folder}']); "
        "assert 'jax' not in sys.modules; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout


def test_a_page_never_stands_beside_other_numbers(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    page, other = folder / "report" / "index.html", plan(title="Another title")
    assert is_finished(plan(), folder)
    auditing.attack(plan(), folder)
    assert page.exists()
    auditing.attack(other, folder)
    assert not page.exists()
    report.make(folder)
    assert page.exists()
    assert is_finished(other, folder)
    assert not is_finished(plan(), folder)


def test_devices_are_those_of_the_signals(finished, tmp_path, monkeypatch):
    folder = shutil.copytree(finished, tmp_path / "run")
    (first,) = timings(folder)["devices"]
    monkeypatch.setattr(device, "name", lambda: "8 x abacus")
    auditing.attack(plan(attacks__again=another()), folder)
    assert timings(folder)["devices"] == sorted([first, "8 x abacus"])
    auditing.attack(plan(), folder)  # without that attack
    assert timings(folder)["devices"] == [first]
    assert (folder / "metrics.json").read_bytes() == (
        finished / "metrics.json"
    ).read_bytes()


@pytest.mark.parametrize("kind", ["scores", "facts"])
def test_scores_and_facts_of_other_numbers_are_refused(finished, tmp_path, kind):
    folder = shutil.copytree(finished, tmp_path / "run")
    result = AuditResult.load(folder)
    changes = {"config": "another"}
    if kind == "scores":
        loss = dataclasses.replace(result.attacks["loss"], members=11)
        changes = {"attacks": {"loss": loss}}
    dataclasses.replace(result, **changes).save(folder)
    assert f"{kind}" in refused(report.make, folder)


def test_an_attack_that_failed_has_failed_in_the_report_too(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    result = AuditResult.load(folder)
    attacks = {**result.attacks, "again": AttackResult("scores", failed="oh; no")}
    dataclasses.replace(result, attacks=attacks).save(folder)
    with pytest.raises(Incomplete, match="attack 'again' failed") as caught:
        report.make(folder)
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
    auditing.run(plan(), folder)
    target = AuditResult.load(folder).target
    assert target.imported == Imported(**came)
    assert target.steps == 1000
    text = page.read_text()
    assert "theirs.pth" in text
    for told in ("passes over them", "training seconds", "learning_rate"):
        assert told not in text
