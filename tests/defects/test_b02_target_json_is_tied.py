"""target.json carried no digest and was compared with nothing: with beta_max changed
from 20 to 21 in it, another process was attacked and nobody was told; members and
privacy travelled into metrics.json as they stood there.
"""

from __future__ import annotations

import json
import shutil

import pytest

from score_mia import auditing
from score_mia.checkpoint import describe, has_state, load_target, target_digest
from score_mia.files import load_sealed, save_sealed
from score_mia.train.config import TrainConfig
from score_mia.train.loop import train
from tests.train.toys import MLP, images

from .tiny_work import edit, plan, refused, unseal

CHANGES = {
    "spec": dict(spec__sde=dict(name="ddpm", beta_max=0.021)),
    "members": dict(provenance__members=25),
    "step": dict(provenance__step=21),
    "seconds": dict(provenance__seconds=1.0),
    "versions": dict(provenance__versions={}),
    "digest": dict(digest__ema="0" * 16),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_in_it_is_noticed_and_its_remedy_trains_nothing(
    finished, tmp_path, name
):
    folder = shutil.copytree(finished, tmp_path / "run")
    path = folder / "target" / "target.json"
    edit(path, **CHANGES[name])
    for act in (auditing.run, auditing.attack, auditing.describe):
        line = refused(act, plan(), folder)
        assert str(path) in line
        assert "delete target.json there and run 'train'" in line
    path.unlink()
    auditing.train(plan(), folder)
    assert describe(folder / "target")["spec"] == describe(finished / "target")["spec"]
    one, two = (target_digest(load_target(f / "target")) for f in (folder, finished))
    assert one == two


def test_one_sealed_again_is_held_against_config_and_split(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    path = folder / "target" / "target.json"
    whole = load_sealed(path)
    for part, name, value, said in (
        ("spec", "sde", {"name": "ddpm", "beta_max": 0.021}, "sde.beta_max"),
        ("provenance", "members", 25, "25 other members"),
        ("provenance", "members_digest", "0" * 16, "other members"),
        ("provenance", "step", 21, "21 training steps"),
    ):
        save_sealed(path, {**whole, part: {**whole[part], name: value}})
        assert said in refused(auditing.attack, plan(), folder)


def test_metrics_name_what_the_checkpoint_says(finished):
    about = describe(finished / "target")
    target = json.loads((finished / "metrics.json").read_text())["target"]
    assert target["sde"] == about["spec"]["sde"]
    assert target["network"] == about["spec"]["network"]
    assert target["members"] == about["provenance"]["members"] == 24
    assert target["steps"] == about["provenance"]["step"] == 20


def test_a_target_of_an_older_version_is_sealed_without_training(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    path = folder / "target" / "target.json"
    shutil.rmtree(folder / "target" / "state")  # not needed either
    unseal(path)
    line = refused(auditing.attack, plan(), folder)
    assert "carries no seal" in line
    assert "run 'train' with this workdir" in line
    # What is in it is not believed.
    edit(path, provenance__members=25)
    auditing.train(plan(), folder)
    assert describe(folder / "target") == describe(finished / "target")


SNAPSHOTS = TrainConfig(steps=8, batch=4, warmup=0, log_every=4, snapshot_every=4)


def test_snapshots_of_an_older_version_are_sealed_too(tmp_path):
    pictures = images(6, (2, 2, 1))
    target = train(MLP, pictures, SNAPSHOTS, tmp_path)
    places = [tmp_path, *(tmp_path / "snapshots").iterdir()]
    before = [describe(p) for p in places]
    for place in places:
        unseal(place / "target.json")
    unseal(tmp_path / "state" / "step-00000008.json")
    again = train(MLP, pictures, SNAPSHOTS, tmp_path)
    assert target_digest(again) == target_digest(target)
    assert [describe(p) for p in places] == before
    # Another run's is not sealed, and neither is one in the wrong place.
    unseal(tmp_path / "target.json")
    refused(train, MLP, images(6, (2, 2, 1), seed=1), SNAPSHOTS, tmp_path)
    shutil.rmtree(tmp_path / "snapshots" / "step-000004")
    shutil.copytree(
        tmp_path / "snapshots" / "step-000008", tmp_path / "snapshots" / "step-000004"
    )
    unseal(tmp_path / "snapshots" / "step-000004" / "target.json")
    refused(train, MLP, pictures, SNAPSHOTS, tmp_path)


def test_every_file_of_the_parameters_is_covered(finished, tmp_path):
    folder = shutil.copytree(finished / "target", tmp_path / "target")
    digest = target_digest(load_target(folder))
    files = [p for p in folder.glob("ema-*/**/*") if p.is_file()]
    assert len(files) >= 4  # arrays, and what describes them
    for path in files:
        whole = path.read_bytes()
        for place in {0, len(whole) // 2, len(whole) - 1}:
            changed = bytearray(whole)
            changed[place] ^= 1
            path.write_bytes(changed)
            assert "is damaged (digest differs)" in refused(load_target, folder)
        path.write_bytes(whole)
    assert target_digest(load_target(folder)) == digest
    assert has_state(folder)
