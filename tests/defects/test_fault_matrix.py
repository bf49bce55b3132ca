"""Every kind of file of a finished workdir, spoilt in every way that happens to files:
the next run refuses it in one line that names it and what to do, or makes it again.
It never ends in a traceback, and never in other numbers.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from score_mia import auditing
from score_mia.auditing import plan as build
from score_mia.check import UserError
from tests.auditing.tiny import get_config

KINDS = {
    "config": "config.json",
    "split": "split.npz",
    "checks": "checks.json",
    "target": "target/target.json",
    "ema": "target/ema-*/**/*",
    "params": "target/params-*/**/*",
    "state": "target/state/step-*.json",
    "state arrays": "target/state/step-*/**/*",
    "snapshot": "target/snapshots/*/target.json",
    "snapshot arrays": "target/snapshots/*/*/**/*",
    "losses": "target/train.jsonl",
    "shown samples": "target/samples.npz",
    "samples": "samples/*/part-*.npz",
    "samples manifest": "samples/*/manifest.json",
    "samples seconds": "samples/*/seconds-*.json",
    "features": "quality/*/part-*.npz",
    "features manifest": "quality/*/manifest.json",
    "features seconds": "quality/*/seconds-*.json",
    "quality": "quality.json",
    "selection": "selection.json",
    "shard": "signals/*/part-*.npz",
    "signals manifest": "signals/*/manifest.json",
    "seconds": "signals/*/seconds-*.json",
    "metrics": "metrics.json",
    "timings": "timings.json",
    "scores": "scores/*.npz",
    "facts": "facts.json",
    "pictures": "pictures.npz",
    "copies": "copies.json",
    "copies arrays": "copies.npz",
}


def truncate(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


def other_digit(path: Path, chance: random.Random) -> None:
    text = path.read_text()
    place = chance.choice([m.start() for m in re.finditer(r"\d", text)])
    digit = chance.choice([d for d in "123456789" if d != text[place]])
    path.write_text(text[:place] + digit + text[place + 1 :])


def list_for_object(path: Path, chance: random.Random) -> None:
    path.write_text("[1, 2]\n")


def other_keys(path: Path, chance: random.Random) -> None:
    path.write_text('{"colour": "green"}\n')


def other_types(path: Path, chance: random.Random) -> None:
    path.write_text(json.dumps(dict.fromkeys(first(path), 7)) + "\n")


def key_gone(path: Path, chance: random.Random) -> None:
    value = first(path)
    value.pop(chance.choice(sorted(value)))
    path.write_text(json.dumps(value) + "\n")


def no_text(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"\xff\xfe{}" + path.read_bytes())


def first(path: Path) -> dict:
    """What a JSON file says, or the first line of a file of lines."""
    text = path.read_text()
    return json.loads(text.splitlines()[0] if path.suffix == ".jsonl" else text)


ANY = (truncate, empty, flip, delete)
TEXT = (other_digit, list_for_object, other_keys, other_types, key_gone, no_text)
CHANCE = (flip, other_digit, key_gone)


def cells(faults: Iterable) -> list:
    chosen = []
    for kind, pattern in KINDS.items():
        for fault in faults:
            if fault in ANY or ".json" in pattern:
                name = f"{kind}-{fault.__name__}"
                chosen.append(pytest.param(kind, fault, id=name))
    return chosen


@pytest.fixture(scope="module")
def plan():
    config = get_config()
    config.unlock()
    del config.attacks.likelihood
    config.split.nonmembers = 30
    config.train.snapshot_every = 30
    config.quality = ConfigDict(dict(samples=6, encoder="pixels"))
    config.target = ConfigDict(dict(snapshot="best_kid"))
    config.report.samples = 2
    return build.plan(config)


@pytest.fixture(scope="module", autouse=True)
def _without_pages():
    """Pages are drawn from what is read here, and drawing takes longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("score_mia.report.page.write", lambda folder, content: folder)
        yield


@pytest.fixture(scope="module")
def whole(plan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    auditing.run(plan, folder)
    return folder


def numbers(folder: Path) -> bytes:
    """metrics.json, to the bit."""
    return (folder / "metrics.json").read_bytes()


def files_of(folder: Path, kind: str) -> list[Path]:
    return [p for p in sorted(folder.glob(KINDS[kind])) if p.is_file()]


def one_line_about(error: UserError, path: Path, folder: Path) -> str:
    text = str(error)
    assert "\n" not in text
    named = [path, *path.parents][: len(path.relative_to(folder).parts)]
    # One of a folder of arrays is named by that folder.
    assert any(p.name in text for p in named if "." in p.name or "-" in p.name), text
    assert re.search(r"; .*(delete|restore|run) ", text), text
    return text


def follow(text: str, path: Path, folder: Path) -> bool:
    """Do what a refusal advises; False where that needs a copy."""
    if "restore" in text:
        return False
    there = re.search(r"delete (\S+) there", text)
    name = there.group(1) if there else path.name
    (named,) = [p for p in (path, *path.parents) if p.name == name]
    assert folder in named.parents
    shutil.rmtree(named) if named.is_dir() else named.unlink()
    return True


def spoil(plan, whole: Path, tmp_path: Path, kind: str, fault, seed: int) -> None:
    """Spoil a copy, run again, do what a refusal advises, and run once more."""
    chance = random.Random(f"{kind} {fault.__name__} {seed}")
    folder = shutil.copytree(whole, tmp_path / "run")
    path = chance.choice(files_of(folder, kind))
    fault(path, chance)
    for _ in range(2):
        try:
            auditing.run(plan, folder)
        except UserError as error:
            text = one_line_about(error, path, folder)
            if not follow(text, path, folder):
                return
        else:
            assert numbers(folder) == numbers(whole)
            return
    pytest.fail(f"what a refusal advises does not help: {text}")


@pytest.mark.many
@pytest.mark.parametrize(("kind", "fault"), cells((*ANY, *TEXT)))
@pytest.mark.filterwarnings("ignore:.*trying the state before it")
def test_fault(plan, whole, tmp_path, kind, fault):
    spoil(plan, whole, tmp_path, kind, fault, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fault"), cells(CHANCE))
@pytest.mark.filterwarnings("ignore:.*trying the state before it")
def test_fault_at_many_places(plan, whole, tmp_path, kind, fault):
    for seed in range(1, 13):
        spoil(plan, whole, tmp_path / str(seed), kind, fault, seed)


def test_every_file_of_a_workdir_is_of_a_kind(whole):
    known = {p for kind in KINDS for p in files_of(whole, kind)}
    files = {p for p in whole.rglob("*") if p.is_file()}
    # Nobody reads scores.csv back: it is written anew with the numbers.
    assert {p.name for p in files - known} == {".lease-00000.lock", "scores.csv"}
    assert all(files_of(whole, kind) for kind in KINDS)
