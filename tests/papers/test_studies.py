"""The studies of the three later papers build, whole, on tiny folders of their kind."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from score_mia import cli
from score_mia.auditing import plan as build
from score_mia.auditing import study
from score_mia.auditing.ready import require_ready
from score_mia.checkpoint import save_target
from score_mia.data.local import bundled
from score_mia.spec import parts

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "golden" / "models"
PARTS = {"members": 12, "nonmembers": 24, "auxiliary": 20}


def module(name):
    spec = importlib.util.spec_from_file_location("study", ROOT / "configs" / name)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def get_config(name, arg=""):
    return module(name).get_config(arg)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Captioned pictures in folders, and the lists that a builder writes."""
    folder = tmp_path_factory.mktemp("images")
    source = bundled("emoji")
    captions = source.columns(source.ids, ("caption",))["caption"]
    rows, lists, at = ["file,caption"], {}, 0
    for part, count in PARTS.items():
        (folder / part).mkdir()
        for i in range(at, at + count):
            pixels = np.rint(255 * source.images(source.ids[i : i + 1])[0])
            name = f"{part}/{i}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
            rows.append(f"{name},{captions[i]}")
            lists.setdefault(part, []).append(name)
        at += count
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    for part, names in lists.items():
        (folder / f"{part}.txt").write_text("\n".join(names) + "\n")
    return folder


def ready(name, arg, small, most):
    """The study's plans; some attacks of the first, up to where it would compute."""
    config = get_config(name, arg)
    for audit in config.audits.values():
        small(audit)
    planned = study.plan(config)
    one = next(iter(planned.audits.values()))
    source = one.source()
    require_ready(one, source, one.split(source), one.attacks[:most])
    return planned


def of_32_pixels(audit):
    audit.data.size = 32
    for name, attack in list(audit.attacks.items()):
        if "forest" in name or "perceptron" in name:
            del audit.attacks[name]  # a fit each: minutes
        elif "scheme" in attack and "permutations" in attack.scheme:
            attack.scheme.permutations = 2


@pytest.mark.parametrize("other", ["", MODELS / "sd2"])
def test_pang_and_wang_s_four_attacks_by_all_rules(images, other):
    where = f"{images},{MODELS / 'sd1'},{MODELS / 'vit' / 'deit'},{other}"
    planned = ready("pang_wang/study.py", where, of_32_pixels, 11)
    assert planned.audits.keys() == {"tuned", "dp-1", "dp-10"}
    for one in planned.audits.values():
        assert len(one.attacks) == (5 if other else 4) * 5 + 2 * 5 + 1
        known = {"half", "none", ""} | ({"other"} if other else set())
        assert {a.shadows for a in one.attacks} == known
        assert one.prompts.keys() == {"made", "untold"}
    private = [one.train.dp for one in planned.audits.values()]
    assert [dp and dp.epsilon for dp in private] == [None, 1.0, 10.0]


def test_laion_mi_s_settings_by_all_classifiers(images):
    def small(audit):
        of_32_pixels(audit)
        if audit.target.name == "finetuned":
            audit.train.steps = 4

    where = f"{images},{MODELS / 'sd1'},{images}"
    config = get_config("laion_mi/study.py", where)
    assert len(config.audits.pokemon.attacks) == 19 * 5
    del config.exhibits
    for audit in config.audits.values():
        small(audit)
    planned = study.plan(config)
    assert planned.audits.keys() == {"laion_mi", "pokemon"}
    one = planned.audits["pokemon"]
    source = one.source()
    require_ready(one, source, one.split(source), one.attacks[:3])
    assert [*get_config("laion_mi/study.py", "a,b").audits] == ["laion_mi"]


def test_cilloni_s_whole_table(images):
    where = f"{images},{MODELS / 'sd2'}"
    planned = ready("cilloni/study.py", where, of_32_pixels, 10)
    assert all(len(one.attacks) == 2 * 3 * 4 * 5 for one in planned.audits.values())
    access = {n: {a.access for a in one.attacks} for n, one in planned.audits.items()}
    assert access == {"grey": {"observed"}, "black": {"samples"}}


# --- at mini size ---------------------------------------------------------------------

MINI = {"pang_wang": 36, "laion_mi": 57, "cilloni": 120}
"""Study -> attacks of each of its audits."""


def stand_in(folder, size="smoke"):
    """A base of the small text model's kind that nobody trained; "" is its own size."""
    plan = build.plan(get_config("text/pretrain.py", size))
    source = plan.source()
    spec = plan.spec(source.shape)
    params = parts(spec).init(jax.random.key(0))
    about = {"step": 1, "members": 1, "train": None}
    save_target(folder / "target", spec, params, params, about)


@pytest.mark.parametrize("paper", MINI)
def test_a_mini_study_builds(paper, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("base", "tuned", "other"):
        stand_in(tmp_path / "runs" / "text" / name)
    planned = study.plan(get_config(f"{paper}/mini.py"))
    for one in planned.audits.values():
        assert len(one.attacks) == MINI[paper]
        counts = one.split(one.source()).counts
        assert (counts["members"], counts["nonmembers"]) == (188, 300)


def test_the_studies_beside_them_build(tmp_path, monkeypatch):
    """LAION-mi's lesson and Pang & Wang's ablations: on lists and targets of others."""
    monkeypatch.chdir(tmp_path)
    for name in ("text/base", "text/tuned", "pang_wang/tuned"):
        stand_in(tmp_path / "runs" / name)
    lists = tmp_path / "runs" / "pools"
    lists.mkdir()
    named, others, candidates = module("laion_mi/pools.py").names()
    (lists / "members.txt").write_text("\n".join(["# kept", *named[:40]]))
    (lists / "nonmembers.txt").write_text("\n".join(candidates[:30]))
    planned = study.plan(get_config("laion_mi/lessons.py"))
    counts = {
        name: one.split(one.source()).counts for name, one in planned.audits.items()
    }
    whole = len(named) + len(others)
    assert counts["shifted"]["members"] == len(named)
    assert counts["mended"]["members"] == 40
    assert counts["mended"]["nonmembers"] == 30
    for name in ("shifted", "mended"):
        split = planned.audits[name].split(planned.audits[name].source())
        assert len(split.members) == whole  # as the base was trained
    assert counts["brief"]["members"] == 250
    varied = study.plan(get_config("pang_wang/ablations.py")).audits
    assert len(varied["variants"].attacks) == 11
    assert varied["few"].split(varied["few"].source()).counts["members"] == 64
    private = study.plan(get_config("pang_wang/private.py")).audits
    assert private["dp"].train.dp.epsilon == 10.0
    assert private["plain"].train is None


@pytest.mark.slow
def test_the_mini_studies_run(tmp_path, monkeypatch):
    """Whole, in smoke size: from the base's training to the exhibits."""
    monkeypatch.chdir(tmp_path)

    def run(command, config, workdir):
        file = ROOT / "configs" / config
        flags = [f"--config={file}:smoke", f"--workdir={tmp_path / 'runs' / workdir}"]
        assert cli.main(["score-mia", command, *flags]) == 0

    run("train", "text/pretrain.py", "text/smoke")
    run("train", "text/other.py", "text/smoke-other")
    run("audit", "text/finetune.py", "text/smoke-tuned")
    for paper in MINI:
        run("study", f"{paper}/mini.py", f"smoke-{paper}")
        page = (tmp_path / "runs" / f"smoke-{paper}" / "index.html").read_text()
        assert "Scenario" in page or "Setting" in page or "Observer" in page
    run("sanitise", "laion_mi/pools.py", "pools")
    for config in (
        "laion_mi/lessons.py",
        "pang_wang/ablations.py",
        "pang_wang/private.py",
    ):
        run("study", config, Path(config).stem)
        assert (tmp_path / "runs" / Path(config).stem / "exhibits").is_dir()
