"""The benchmark's configs build, whole; those of the field on tiny files."""

from __future__ import annotations

import json
from pathlib import Path
from runpy import run_path

import jax
import numpy as np
import pytest

from score_mia import cli
from score_mia.auditing import plan as build
from score_mia.auditing import study
from score_mia.auditing.ready import require_ready
from score_mia.checkpoint import save_target
from score_mia.rules.scheme import HELD_OUT
from score_mia.spec import parts
from tests.interop.test_pytorch_ddpm import models as state_dicts
from tests.interop.test_pytorch_ddpm import saved

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "benchmark"
MODELS = ROOT / "tests" / "golden" / "models"
LEVELS = ("barely", "half", "memorised")
PIXELS = ("ddpm", "vp", "ve", "edm", "flow")


def get_config(name, arg=""):
    return run_path(str(CONFIGS / name))["get_config"](arg)


def kept(folder, config, shape=None):
    """A target of a config's kind, all zeros, with its snapshots; `shape`: of images
    that cannot be had here."""
    plan = build.plan(config)
    spec = plan.spec(shape or plan.source().shape)
    shapes = jax.eval_shape(parts(spec).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    steps = plan.snapshots
    about = {"members": 1, "train": None}
    for step in steps:
        inner = folder / "target"
        if step != steps[-1]:
            inner = inner / "snapshots" / f"step-{step:06d}"
        save_target(inner, spec, params, params, {**about, "step": step})


def test_the_mini_targets_keep_their_levels():
    planned = study.plan(get_config("targets.py"))
    assert [*planned.audits] == [f"{n}-{s}" for n in PIXELS for s in range(3)]
    for one in planned.audits.values():
        counts = one.split(one.source()).counts
        assert (counts["members"], counts["nonmembers"]) == (100, 300)
        assert {1250, 2500, 5000} <= {*one.snapshots}
    seeds = [planned.audits[f"ddpm-{s}"].train.seed for s in range(3)]
    assert seeds == [0, 1, 2]


def test_every_attack_on_every_level_of_the_mini_targets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets = get_config("targets.py", "ddpm,flow,0,1")
    for name, config in targets.audits.items():
        kept(tmp_path / "runs" / "benchmark" / "targets" / name, config)
    planned = study.plan(get_config("mini.py", "ddpm,flow,digits,0"))
    names = [f"{n}-0-{level}" for n in ("ddpm", "flow") for level in LEVELS]
    assert [*planned.audits] == [*names, "digits"]
    once = {a.name for a in planned.audits["ddpm-0-half"].attacks}
    usual = {a.name for a in planned.audits["flow-0-half"].attacks}
    assert once - usual == {"calibrated", "against"}
    assert len(usual) == 29
    boards = ["leaderboard", "ddpm", "once", "flow", "digits"]
    assert [*planned.exhibits] == [*boards, "steps_ddpm", "steps_flow"]
    grown = planned.exhibits["steps_ddpm"].curves["SimA, seed 0"]
    assert [step for step, *_ in grown] == [1250, 2500, 5000]
    assert [*planned.exhibits["leaderboard"].levels["half"]] == [names[1], names[4]]
    config = get_config("mini.py", "flow,0,mine=covariates")
    assert config.audits["flow-0-half"].attacks.mine.signal.name == "covariates"
    assert "mine" in config.exhibits.flow.attacks
    rules = {type(a.rule).__name__ for a in planned.audits["digits"].attacks}
    assert {"Lira", "Rmia", "ReferenceRatio", "Quantile", "Cdi", "Duci"} <= rules


@pytest.mark.slow
def test_power_is_judged_on_all_images_of_all_levels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    targets = get_config("targets.py", "edm,ve,0")
    for name, config in targets.audits.items():
        kept(tmp_path / "runs" / "benchmark" / "targets" / name, config)
    planned = study.plan(get_config("../power.py", "edm,ve,0"))
    assert [*planned.exhibits] == [f"power_{level}" for level in LEVELS]
    exhibit = planned.exhibits["power_half"]
    assert exhibit.audits == ("edm-0-half", "ve-0-half")
    attacks = {a.name: a for a in planned.audits["edm-0-half"].attacks}
    assert {*exhibit.attacks} == {*attacks}
    asked = exhibit.of, *("loss", "weighed", "all")
    assert {type(attacks[name].scheme).__name__ for name in asked} == {"CrossFit"}
    assert attacks["peak"].knows == attacks["likelihood"].knows == "none"


@pytest.mark.slow
def test_the_sweep_is_held_against_what_costs_a_fiftieth(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, config in get_config("targets.py", "edm,0").audits.items():
        kept(tmp_path / "runs" / "benchmark" / "targets" / name, config)
    planned = study.plan(get_config("../sweep.py", "edm,0"))
    assert [*planned.exhibits] == ["sweep_half"]
    attacks = {a.name: a for a in planned.audits["edm-0-half"].attacks}
    assert {*planned.exhibits["sweep_half"].attacks} == {*attacks}
    assert {a.scheme for a in attacks.values()} == {HELD_OUT}  # the same images for all
    (sweep,), (fine,) = (attacks[n].signals.values() for n in ("sweep", "fine"))
    model = planned.audits["edm-0-half"].known.at((16, 16, 1)).target(None).denoiser
    costs = [s.columns(model).evaluations for s in (sweep, fine)]
    assert costs == [1000.0, 16.0]


def test_the_sizes_differ_by_their_members_alone():
    audits = study.plan(get_config("sizes.py")).audits
    counts = {name: plan.split(plan.source()).counts for name, plan in audits.items()}
    assert counts["members-100"]["members"] == 50
    assert counts["members-1600"]["members"] == 800
    assert {c["nonmembers"] for c in counts.values()} == {300}
    assert {plan.train.steps for plan in audits.values()} == {2500}


def test_the_prototypes_targets_are_two():
    audits = study.plan(get_config("prototypes.py")).audits
    whole, half = (plan.split(plan.source()).counts for plan in audits.values())
    assert (whole["members"], whole["nonmembers"]) == (32, 200)
    assert (half["members"], half["nonmembers"]) == (64, 400)
    assert {a.name for a in audits["half"].attacks} >= {"once_100", "all_weighed"}


def test_precision_is_all_that_a_pair_differs_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = get_config("targets.py", "ddpm,0").audits["ddpm-0"]
    kept(tmp_path / "runs" / "benchmark" / "targets" / "ddpm-0", config)
    planned = study.plan(get_config("precision.py"))
    pairs = planned.exhibits["differences"].pairs
    assert [*pairs] == ["half", "memorised"]
    for names in pairs.values():
        first, second = (planned.audits[name] for name in names)
        assert (first.engine.precision, second.engine.precision) == (
            "float32",
            "bfloat16",
        )
        assert first.signals == second.signals
        assert first.config["target"] == second.config["target"]
        assert first.config["split"] == second.config["split"]
    with pytest.raises(ValueError, match="'hal'] is unknown"):
        get_config("precision.py", "hal")


def test_an_unknown_part_of_the_benchmark_is_told():
    with pytest.raises(ValueError, match=r"'ddqm' is unknown; known: ddpm, vp"):
        get_config("mini.py", "ddqm")
    with pytest.raises(ValueError, match="seed 7 is unknown"):
        get_config("mini.py", "ddpm,7")
    with pytest.raises(ValueError, match="row 'loss' is there already"):
        get_config("mini.py", "loss=my_package.mine:MySignal")


def test_the_text_model_is_one_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretrain = run_path(str(ROOT / "configs" / "text" / "pretrain.py"))["get_config"]
    base = pretrain("smoke")
    kept(tmp_path / "runs" / "text" / "smoke", base)
    (target,) = get_config("targets.py", "text,0,smoke").audits.values()
    plan = build.plan(target)
    assert plan.snapshots == (5, 10, 15, 20)
    folder = tmp_path / "runs" / "benchmark" / "smoke-targets" / "text-0"
    base.train.update(steps=20, snapshot_every=5)
    kept(folder, base)
    planned = study.plan(get_config("mini.py", "text,0,smoke"))
    assert len(planned.audits["text-0-half"].attacks) == 19
    assert [*planned.exhibits] == ["text"]


# --- the field's own ------------------------------------------------------------------


def halves(path, members, nonmembers, names=("members", "nonmembers")):
    arrays = (np.arange(members), members + np.arange(nonmembers))
    np.savez(path, **dict(zip(names, arrays, strict=True)))
    return path


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (120, 32, 32, 3), np.uint8)


def ready(name, words, change=None):
    """The study's plan, and its first audit up to where it would compute."""
    config = get_config(name, ",".join(map(str, words)))
    for audit in config.audits.values():
        if change is not None:
            change(audit)
    planned = study.plan(config)
    one = next(iter(planned.audits.values()))
    source = one.source()
    require_ready(one, source, one.split(source), one.attacks[:6])
    return planned


def test_pytorch_ddpm_with_secmi_s_index_files(tmp_path, pictures):
    file = saved(tmp_path / "ckpt.pt", state_dicts(), step=7)
    np.save(tmp_path / "train.npy", pictures[:, :8, :8])
    split = halves(tmp_path / "split.npz", 60, 60, ("mia_train_idxs", "mia_eval_idxs"))

    def small(audit):
        audit.target.size = 8
        audit.target.beta_t = 0.09  # the tiny one has a tenth of the steps

    words = (file, tmp_path / "train.npy", split)
    planned = ready("pytorch_ddpm.py", words, small)
    (one,) = planned.audits.values()
    counts = one.split(one.source()).counts
    assert (counts["members"], counts["nonmembers"]) == (54, 54)
    assert len(one.attacks) == 21
    both = get_config("pytorch_ddpm.py", ",".join(map(str, words * 2)))
    assert [*both.audits] == ["cifar10", "cifar100"]
    with pytest.raises(ValueError, match="once or twice"):
        get_config("pytorch_ddpm.py", "a,b")


def test_google_s_ddpm(tmp_path, pictures):
    np.save(tmp_path / "images.npy", pictures[:, :8, :8])
    split = halves(tmp_path / "split.npz", 60, 60)
    words = (MODELS / "unet2d_google", tmp_path / "images.npy", split)
    planned = ready("google_ddpm.py", words)
    assert {a.access for a in planned.audits["cifar10"].attacks} == {
        *("none", "samples", "observed", "scores", "gradients")
    }


def test_stable_diffusion_on_lists_of_files(tmp_path, pictures):
    from PIL import Image

    rows = ["file,caption"]
    for i, picture in enumerate(pictures[:48]):
        name = f"{'members' if i < 24 else 'nonmembers'}/{i}.png"
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / name)
        rows.append(f"{name},a picture")
    (tmp_path / "captions.csv").write_text("\n".join(rows) + "\n")

    def small(audit):
        audit.data.size = 32

    words = (tmp_path, MODELS / "sd1", MODELS / "sd1")
    planned = ready("stable_diffusion.py", words, small)
    assert [*planned.audits] == ["sd14", "sd15"]
    names = {a.name for a in planned.audits["sd14"].attacks}
    assert {"clid", "untold", "reconstruct", "observe"} <= names
    assert [*planned.exhibits] == ["leaderboard", "board-sd14", "board-sd15"]
    assert [*get_config("stable_diffusion.py", "a,b").audits] == ["sd14"]


def test_dit_with_its_classes(tmp_path, pictures):
    about = json.loads((MODELS / "dit" / "vae" / "config.json").read_text())
    side = 16 * 2 ** (len(about["block_out_channels"]) - 1)
    images = np.resize(pictures, (120, side, side, 3)).astype(np.uint8)
    labels = np.arange(120) % 5
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    split = halves(tmp_path / "split.npz", 60, 60)
    words = (MODELS / "dit", tmp_path / "images.npz", split)
    planned = ready("dit.py", words)
    names = {a.name for a in planned.audits["dit"].attacks}
    assert {"clid", "untold"} <= names
    assert not {"gsa", "roots", "likelihood", "reconstruct"} & names


@pytest.mark.slow
def test_the_mini_benchmark_runs(tmp_path, monkeypatch):
    """Whole, in smoke size: one process, the digits, and the leaderboards."""
    monkeypatch.chdir(tmp_path)
    where = tmp_path / "runs" / "benchmark"
    for file, arg, folder in (
        ("targets.py", "ddpm,0,1,smoke", "smoke-targets"),
        ("mini.py", "ddpm,digits,0,smoke", "smoke"),
    ):
        flags = [f"--config={CONFIGS / file}:{arg}", f"--workdir={where / folder}"]
        assert cli.main(["score-mia", "study", *flags]) == 0
    made = {p.name for p in (where / "smoke" / "exhibits").iterdir()}
    boards = ("leaderboard", "ddpm", "once", "digits")
    assert made == {f"{name}.{form}" for name in boards for form in ("csv", "tex")}
