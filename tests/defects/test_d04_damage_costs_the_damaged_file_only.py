"""A damaged set of parameters was answered with "delete the target", and so with the
loss of all training states: hours of work for one folder that is written from them.
"""

from __future__ import annotations

import re
import shutil

import pytest

from score_mia import auditing
from score_mia.checkpoint import load_target, target_digest
from score_mia.train import loop

from .tiny_work import contents, plan, refused


def spoil(path):
    (file,) = (p for p in path.glob("d/*") if p.is_file())
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("state", [True, False], ids=["with state", "without"])
@pytest.mark.parametrize("how", [spoil, shutil.rmtree])
def test_damaged_parameters_are_written_again(
    finished, tmp_path, monkeypatch, how, state
):
    folder = shutil.copytree(finished, tmp_path / "run")
    (path,) = folder.glob("target/ema-*")
    how(path)
    if not state:
        shutil.rmtree(folder / "target" / "state")
        line = refused(auditing.attack, plan(), folder)
        assert "restore it from a copy" in line
        if how is shutil.rmtree:
            line = refused(auditing.train, plan(), folder)
            assert "no training state" in line
        return
    for act in (auditing.attack, auditing.train):
        line = refused(act, plan(), folder) if path.exists() else ""
        if line:
            name = re.search(r"delete (\S+) there and run 'train'", line)[1]
            assert name == path.name
    if path.exists():
        shutil.rmtree(path)
    monkeypatch.setattr(loop, "_loop", None)  # nothing is trained
    auditing.train(plan(), folder)
    places = (folder / "target", finished / "target")
    one, two = (target_digest(load_target(place)) for place in places)
    assert one == two
    kept = ("state/", "params-", "train.jsonl")
    after, before = map(contents, places)
    assert before
    for name in before:
        if name.startswith(kept):
            assert after[name] == before[name]
