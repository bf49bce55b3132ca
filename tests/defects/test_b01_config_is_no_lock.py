"""A deleted config.json switched the guard off, and its message advised deleting it:
`report --config.sde.beta_max=25` then printed 25 of a model that was trained with 20.
And any change of the config, a title or an added attack, orphaned a trained target.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from score_mia import auditing
from score_mia.auditing.work import look, open_work
from score_mia.train.config import TrainConfig

from .tiny_work import config, contents, edit, plan, refused

OTHER_TARGETS = {
    "sde.beta_max": dict(sde__beta_max=25.0),
    "network.features": dict(network__features=16),
    "parameterisation.name": dict(parameterisation=dict(name="score")),
    "codec.low": dict(codec=dict(low=0.0, high=1.0)),
    "train.learning_rate": dict(train__learning_rate=1e-4),
    "train.seed": dict(train__seed=1),
    "train.steps=30": dict(train__steps=30),
    "train.steps=10": dict(train__steps=10),
    "split.members": dict(split__members=20),
    "split.seed": dict(split__seed=1),
    "split.reference": dict(split__reference=0.25),
    "have changed": dict(data__dataset="fashion_mnist", data__size=8),
}


@pytest.mark.many
@pytest.mark.parametrize("deleted", [False, True], ids=["config.json", "deleted"])
@pytest.mark.parametrize("name", OTHER_TARGETS)
def test_another_target_or_split_is_refused_by_the_field(
    finished, tmp_path, name, deleted
):
    folder = shutil.copytree(finished, tmp_path / "run")
    if deleted:
        (folder / "config.json").unlink()
    before = contents(folder)
    other = plan(**OTHER_TARGETS[name])
    for act in (
        look,
        auditing.run,
        auditing.attack,
        auditing.describe,
    ):
        line = refused(act, other, folder)
        assert name in line
        assert "delete that one" not in line
    assert contents(folder) == before


SAME_TARGET = {
    "title": dict(title="Another title"),
    "report": dict(report__replicates=120, report__near_duplicates=0.0),
    "engine": dict(engine__devices=2, engine__shard=8),
    "sampler": dict(sampler=dict(name="ancestral")),
    "quality": dict(quality=dict(encoder="pixels", samples=8)),
    "operation": dict(train__log_every=7, train__checkpoint_every=5),
    "attack": dict(attacks__mean=config().attacks.loss),
}


@pytest.mark.parametrize("name", SAME_TARGET)
def test_whatever_the_target_does_not_depend_on_may_change(finished, tmp_path, name):
    folder = shutil.copytree(finished, tmp_path / "run")
    other = plan(**SAME_TARGET[name])
    open_work(other, folder)
    assert json.loads((folder / "config.json").read_text()) == other.config
    after, before = contents(folder), contents(finished)
    del after["config.json"], before["config.json"]
    assert after == before


def test_an_absent_or_damaged_config_is_written_again(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    path = folder / "config.json"
    for spoil in (
        path.unlink,
        lambda: path.write_text("{"),
        lambda: edit(path, seed=1),
    ):
        spoil()
        open_work(plan(), folder)
        assert path.read_bytes() == (finished / "config.json").read_bytes()


def test_an_added_attack_computes_what_is_missing(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    added = plan(attacks__again=config().attacks.loss)
    auditing.attack(added, folder)
    entries = json.loads((folder / "metrics.json").read_text())["attacks"]
    assert entries["again"]["auc"] == entries["loss"]["auc"]
    before, after = contents(finished), contents(folder)
    for name in before:
        if name.startswith(("target/", "signals/", "split.npz")):
            assert after[name] == before[name]


def test_a_changed_signal_is_computed_beside_the_old_one(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    other = plan(attacks__loss__signal__times=3)
    auditing.attack(other, folder)
    before, after = contents(finished / "signals"), contents(folder / "signals")
    assert before.items() < after.items()
    auditing.attack(plan(engine__shard=8), folder)  # how they are cut is no difference
    assert contents(folder / "signals") == after


def test_data_may_move(tmp_path):
    images = np.random.default_rng(0).random((80, 8, 8, 1), np.float32)
    np.save(tmp_path / "here.npy", images)
    one = dict(data=dict(name="arrays", path=str(tmp_path / "here.npy")))
    two = dict(data=dict(name="arrays", path=str(tmp_path / "there.npy")))
    open_work(plan(**one), tmp_path / "run")
    (tmp_path / "here.npy").rename(tmp_path / "there.npy")
    open_work(plan(**two), tmp_path / "run")
    np.save(tmp_path / "there.npy", 1 - images)
    assert "have changed" in refused(open_work, plan(**two), tmp_path / "run")


@pytest.mark.parametrize(
    "mistake",
    [
        dict(split__members=5000),
        dict(network=dict(name="ddpm", features=32, multipliers=(1,) * 5, blocks=1,
                          attention=())),
        dict(network__classes=3),
        dict(data=dict(name="arrays", path="nowhere.npy")),
    ],
)  # fmt: skip
def test_a_mistake_does_not_claim_the_workdir(mistake, tmp_path):
    for act in (auditing.describe, auditing.run):
        refused(act, plan(**mistake), tmp_path / "run")
        assert contents(tmp_path / "run") == {}


def test_a_training_that_has_begun_is_held_too(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "run")
    (folder / "target" / "target.json").unlink()
    (folder / "config.json").unlink()
    for name in ("sde.beta_max", "train.learning_rate", "split.members"):
        assert name in refused(look, plan(**OTHER_TARGETS[name]), folder)
    look(plan(train__steps=30), folder)  # it may go on


@pytest.mark.parametrize("workdir", ["a" * 300, "nul\0"])
def test_a_workdir_that_cannot_be_is_one_line(workdir, tmp_path):
    for act in (auditing.describe, auditing.run):
        assert "--workdir=" in refused(act, plan(), tmp_path / workdir)


def test_settings_survive_their_record():
    made = plan(train__dp=dict(epsilon=6.0, delta=0.02)).train
    fields = json.loads(json.dumps(made, default=vars))
    assert TrainConfig.of(fields) == made


def test_a_dry_run_says_what_is_done_and_what_is_missing(finished, tmp_path):
    attack = dict(signal=dict(name="loss", times=3), rule=dict(name="mean"))
    added = plan(attacks__again=attack)
    lines = auditing.describe(added, finished).splitlines()
    states = dict(line.split()[:2] for line in lines if "forward passes" in line)
    assert states == {"train": "done:", "loss": "done:", "again": "missing:"}
    fresh = auditing.describe(added, tmp_path / "run")
    assert fresh.count("missing: ") == 3
    assert not (tmp_path / "run").exists()
