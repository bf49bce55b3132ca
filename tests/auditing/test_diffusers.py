"""Folders of diffusers through the audit: told by one line, attacked three ways."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import score_mia
from score_mia import cli
from score_mia.auditing import plan as planning
from score_mia.auditing import stages
from score_mia.auditing.work import open_work
from score_mia.check import UserError
from score_mia.data.local import bundled
from score_mia.results import AuditResult
from tests.helpers import slow

MODELS = Path(__file__).parents[1] / "golden" / "models"
RECON = "tests.beams.parts.recon:Recon"
IDS = {"members": list(range(10)), "nonmembers": list(range(10, 26))}


def get_config(folder):
    """One line says what the target is."""
    return dict(
        target=dict(name="diffusers", folder=str(folder)),
        data=dict(name="bundled", dataset="emoji"),
        split=dict(name="files", **IDS),
        attacks=dict(
            loss=dict(
                signal=dict(name="loss", times=2), rule=dict(name="best"), knows="split"
            ),
            likelihood=dict(
                signal=dict(name="likelihood", probes=1, evaluations=4),
                rule=dict(name="column", column="latent_log_prob"),
            ),
            recon=dict(
                signal=dict(name=RECON, draws=1),
                rule=dict(name="column", column="nearest"),
            ),
        ),
        sampler=dict(name="ddim", steps=2),
        engine=dict(tile=13, shard=26, devices=1),
        report=dict(samples=0, replicates=100, grid_check=0),
    )


@pytest.fixture(scope="module", params=[slow("sd1"), "sd2"])
def done(request, tmp_path_factory):
    folder = MODELS / request.param
    workdir = tmp_path_factory.mktemp(request.param) / "run"
    file = workdir.parent / "config.py"
    file.write_text(f"def get_config(arg=''):\n    return {get_config(folder)!r}\n")
    flags = ["score-mia", "audit", f"--config={file}", f"--workdir={workdir}"]
    assert cli.main(flags) == 0
    return folder, workdir


def test_every_attack_runs_and_the_target_is_told(done):
    folder, workdir = done
    result = AuditResult.load(workdir)
    assert result.attacks.keys() == {"loss", "likelihood", "recon"}
    assert all(one.failed is None for one in result.attacks.values())
    config = json.loads((workdir / "config.json").read_text())
    assert config["network"]["name"] == "text_unet"
    assert config["codec"]["name"] == "kl"
    assert config["conditioner"]["name"] == "tokens"
    assert result.target.imported.file == folder.name
    assert (workdir / "report" / "index.html").stat().st_size > 0


@pytest.mark.slow
def test_the_same_from_python(done, tmp_path):
    folder, workdir = done
    source = bundled("emoji")
    images = source.images(source.ids[:26])
    config = get_config(folder)
    target = score_mia.load(folder)
    again = score_mia.audit(
        target,
        dict(name="bundled", dataset="emoji"),
        config["split"],
        config["attacks"],
        workdir=tmp_path,
        how=score_mia.Engine(**config["engine"]),
        sampler=config["sampler"],
        report=config["report"],
    )
    assert images.shape == (26, 32, 32, 3)
    first = AuditResult.load(workdir)
    assert again.result.attacks == first.attacks


@pytest.mark.slow
def test_the_workdir_needs_the_folder_no_more(done, tmp_path):
    folder, _ = done
    moved = tmp_path / "models" / folder.name
    shutil.copytree(folder, moved)
    copy = tmp_path / "run"
    config = {
        **get_config(moved),
        "attacks": {"loss": get_config(moved)["attacks"]["loss"]},
    }
    stages.run(planning.plan(config), copy)
    kept = json.loads((copy / "config.json").read_text())
    for file in (moved / "unet").iterdir():
        file.unlink()
    target = open_work(planning.plan(kept), copy).target
    whole = score_mia.load(folder)
    jax.tree.map(np.testing.assert_array_equal, target.tree, whole.tree)
    with pytest.raises(UserError, match="unet"):
        planning.plan(config)


def test_images_of_another_size_are_refused_unless_asked_for(tmp_path):
    config = get_config(MODELS / "sd1")
    config["data"]["size"] = 16
    with pytest.raises(UserError, match=r"are not of the \(32, 32, 3\)"):
        stages.run(planning.plan(config), tmp_path / "run")


def test_a_caption_that_is_too_long_is_told(tmp_path):
    config = get_config(MODELS / "sd1")
    config["conditioner"] = dict(
        name="tokens", folder=str(MODELS / "sd1" / "tokenizer"), length=8
    )
    with pytest.raises(UserError, match="tokens, more than the model's 8; shorten it"):
        stages.run(planning.plan(config), tmp_path / "run")


@pytest.mark.slow
def test_a_diffusion_transformer_is_told_classes(tmp_path):
    """DiT on the autoencoder's latents, from the command line and from Python."""
    images = bundled("emoji").images(np.arange(26))
    labels = np.arange(26) % 5
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    config = get_config(MODELS / "dit")
    config["data"] = dict(name="arrays", path=str(tmp_path / "data.npz"))
    config["sampler"]["guidance"] = 4.0
    config["report"]["samples"] = 2
    file, workdir = tmp_path / "config.py", tmp_path / "run"
    file.write_text(f"def get_config(arg=''):\n    return {config!r}\n")
    flags = ["score-mia", "audit", f"--config={file}", f"--workdir={workdir}"]
    assert cli.main(flags) == 0
    result = AuditResult.load(workdir)
    names = ("loss", "likelihood", "recon")
    assert {n: a.failed for n, a in result.attacks.items()} == dict.fromkeys(names)
    kept = json.loads((workdir / "config.json").read_text())
    assert kept["network"]["name"] == "dit"
    assert kept["conditioner"]["name"] == "label"
    assert list((workdir / "samples").rglob("part-*.npz"))
    again = score_mia.audit(
        score_mia.load(MODELS / "dit"),
        config["data"],
        config["split"],
        config["attacks"],
        workdir=tmp_path / "again",
        how=score_mia.Engine(**config["engine"]),
        sampler=config["sampler"],
        report=config["report"],
    )
    assert again.result.attacks == result.attacks


def tuned(adapt, **train):
    """The tiny Stable Diffusion, fine-tuned on the members."""
    config = get_config(MODELS / "sd1")
    base = dict(name="diffusers", folder=str(MODELS / "sd1"))
    config["target"] = dict(name="finetuned", base=base, adapt=adapt, rank=2)
    config["train"] = dict(
        steps=2, batch=2, warmup=0, checkpoint_every=1, snapshot_every=1, **train
    )
    config["attacks"] = {"loss": config["attacks"]["loss"]}
    return config


@pytest.mark.parametrize(
    ("adapt", "train"),
    [slow("lora", {"dp": dict(epsilon=8.0, delta=1e-3)}), slow("full", {})],
)
def test_a_fine_tuned_one_is_a_target_like_any_other(adapt, train, tmp_path):
    config = tuned(adapt, **train)
    stages.run(planning.plan(config), tmp_path)
    result = AuditResult.load(tmp_path)
    assert result.attacks["loss"].failed is None
    assert (result.target.privacy is not None) == bool(train)
    assert (tmp_path / "target" / "snapshots" / "step-000001").is_dir()
    base, whole = score_mia.load(MODELS / "sd1"), score_mia.load(tmp_path)
    jax.tree.map(np.testing.assert_array_equal, whole.codec.params, base.codec.params)
    other = {**config, "target": {**config["target"], "rank": 3}}
    if adapt == "lora":
        with pytest.raises(UserError, match=r"target\.start"):
            open_work(planning.plan(other), tmp_path)
