"""A finished audit in a second or two, and ways to spoil it, for the defects here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.check import UserError
from score_mia.files import SEAL, load_json, save_json
from tests.auditing.tiny import get_config


def config(**changes):
    """The tiny config with the loss alone; keys are dotted, with `__` for a dot."""
    made = get_config()
    made.unlock()
    del made.attacks.likelihood
    made.train.steps, made.train.checkpoint_every = 20, 10
    made.report.samples = 0
    for name, value in changes.items():
        place = made
        *path, last = name.split("__")
        for part in path:
            place = place[part]
        place[last] = value
    return made


def plan(**changes):
    """The plan of `config(**changes)`."""
    return build.plan(config(**changes))


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The workdir of a finished audit of `plan()`; copy it before spoiling it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    auditing.run(plan(), folder)
    return folder


def edit(path: Path, **changes) -> None:
    """Change fields of a JSON record (dots as `__`) and leave its seal as it was."""
    value = load_json(path)
    for name, new in changes.items():
        place = value
        *inner, last = name.split("__")
        for part in inner:
            place = place[part]
        assert last in place
        place[last] = new
    save_json(path, value)


def unseal(path: Path) -> None:
    """A record as versions before 0.2 wrote it."""
    value = json.loads(path.read_text())
    del value[SEAL]
    save_json(path, value)


def refused(act, *arguments) -> str:
    """The one line that an action is refused with, which names a remedy."""
    with pytest.raises(UserError) as caught:
        act(*arguments)
    line = str(caught.value)
    assert "\n" not in line
    assert ";" in line, f"no remedy: {line}"
    return line


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but who used it last."""
    paths = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name[0] != ".")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}
