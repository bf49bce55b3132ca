"""JSON of the wrong shape, torn or spoilt files, and files that another process removed
in between, ended commands with a traceback or went unnoticed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing.work import look
from score_mia.check import UserError
from score_mia.checkpoint import load_state, save_state
from score_mia.files import load_sealed, save_sealed

from .tiny_work import plan


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def wrong(text):
    return lambda path: path.write_text(text)


FAULTS = {
    "truncated": truncate,
    "flipped": flip,
    "deleted": lambda path: path.unlink(),
    "empty": wrong(""),
    "list": wrong("[1, 2]"),
    "null": wrong("null"),
    "object": wrong("{}"),
    "text": wrong('"target"'),
    "deep": wrong("[" * 100_000),
    "binary": lambda path: path.write_bytes(b"\xff\x00\xfe" * 9),
}


def one_line(error, path):
    text = str(error)
    assert "\n" not in text
    assert ";" in text
    assert path.name in text or path.parent.name in text


@pytest.mark.many
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["config.json", "metrics.json", "target/target.json"])
def test_attacked_again(finished, tmp_path, name, fault):
    folder = shutil.copytree(finished, tmp_path / "run")
    FAULTS[fault](folder / name)
    try:
        auditing.attack(plan(), folder)
    except UserError as error:
        one_line(error, folder / name)
        assert name == "target/target.json"
        return
    one, two = (
        json.loads((f / "metrics.json").read_text()) for f in (finished, folder)
    )
    assert one == two
    assert name != "target/target.json"


# Without its json a state is none, and training begins anew.
STATES = [("step-00000020.json", f) for f in FAULTS if f != "deleted"]
STATES += [("step-00000020/d/*", f) for f in FAULTS]


@pytest.mark.parametrize(("name", "fault"), STATES)
def test_trained_on_from_the_state(finished, tmp_path, name, fault):
    target = shutil.copytree(finished / "target", tmp_path / "run" / "target")
    shutil.copy(finished / "split.npz", target.parent)
    (target / "target.json").unlink()
    (path,) = (target / "state").glob(name)
    FAULTS[fault](path)
    (target / "state" / "step-00000010.json").unlink()
    with (
        pytest.warns(UserWarning, match="trying the state before"),
        pytest.raises(UserError, match="no state can be read") as caught,
    ):
        auditing.train(plan(), target.parent)
    one_line(caught.value, path)
    assert "delete that folder" in str(caught.value)


def test_states_without_a_seal_are_taken_and_others_not(tmp_path):
    tree = {"00": np.arange(5.0)}
    save_state(tmp_path, 10, tree, {"identity": "x", "seconds": 1.5})
    path = tmp_path / "state" / "step-00000010.json"
    value = load_sealed(path)
    path.write_text(json.dumps(value))
    assert load_state(tmp_path, tree).record["seconds"] == 1.5
    for change in (
        {"step": 11},
        {"more": 1},
        {"step": "10"},
        {"record": {"seconds": "x"}},
    ):
        path.write_text(json.dumps({**value, **change}))
        with (
            pytest.warns(UserWarning, match="trying the state before"),
            pytest.raises(UserError, match="no state can be read"),
        ):
            load_state(tmp_path, tree)


def test_a_state_that_another_process_removed_is_no_error(tmp_path, monkeypatch):
    tree = {"00": np.arange(5.0)}
    for step in (10, 20):
        save_state(tmp_path, step, tree, {})
    unlink = Path.unlink

    def twice(path, missing_ok=False):
        unlink(path, missing_ok=True)
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", twice)
    save_state(tmp_path, 30, tree, {})
    assert load_state(tmp_path, tree).step == 30


@pytest.mark.parametrize("chosen", ["20", 7, True, None, [20]])
def test_a_selection_of_another_shape_is_one_line(finished, tmp_path, chosen):
    folder = shutil.copytree(finished, tmp_path / "run")
    wanted = plan(
        train__snapshot_every=10,
        quality=dict(encoder="pixels", samples=8),
        target=dict(snapshot="best_kid"),
    )
    work = look(wanted, folder)
    path = folder / "selection.json"
    save_sealed(path, {"chosen": chosen})
    with pytest.raises(UserError, match="delete it and run again") as caught:
        _ = work.step
    one_line(caught.value, path)
