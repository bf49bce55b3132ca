"""Every experiment in configs/ builds, and its network and training step trace."""

from __future__ import annotations

import functools
import importlib.util
import json
from math import prod
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from score_mia import cli
from score_mia.auditing import plan as build
from score_mia.auditing import sanitising, study
from score_mia.check import UserError
from score_mia.interop import from_score_sde_config
from score_mia.networks import NETWORKS
from score_mia.parameterisation import PARAMETERISATIONS
from score_mia.registry import make
from score_mia.sde import SDES

ROOT = Path(__file__).parents[1]
OF_OTHER_KINDS = {
    *("study.py", "mini.py", "lessons.py", "ablations.py"),  # tests/papers
    "private.py",
    *("finetune.py", "sanitise.py", "pools.py"),  # below
    *("targets.py", "pytorch_ddpm.py", "google_ddpm.py"),  # tests/papers
    *("stable_diffusion.py", "dit.py", "sizes.py", "prototypes.py"),  # likewise
    *("power.py", "sized.py", "sweep.py"),
    *("precision.py", "cifar10.py"),
}
CONFIGS = sorted(
    p.relative_to(ROOT / "configs").as_posix()
    for p in (ROOT / "configs").rglob("*.py")
    if not p.name.startswith("_") and p.name not in OF_OTHER_KINDS
)
PAPER = [name for name in CONFIGS if name.startswith("paper/")]
SAME = {
    "paper/ffhq10k_ddpm.py": "paper/ffhq1k_ddpm.py",
    "paper/ffhq30k_ddpm.py": "paper/ffhq1k_ddpm.py",
    "paper/ffhq1k_ddpm_dp.py": "paper/ffhq1k_ddpm.py",
    "paper/drd1k_smld.py": "paper/ffhq1k_smld.py",
}
SIDE = {f"score_mia.papers.hu_pang:{name}": 64 for name in ("ffhq", "drd")}
SIDE["arrays"] = 32  # CIFAR's


def config(name, arg=""):
    path = ROOT / "configs" / name
    spec = importlib.util.spec_from_file_location("config_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)


def shape(plan):
    """Of the images, without the data sets that cannot be here."""
    side = SIDE.get(plan.config["data"]["name"])
    return plan.source().shape if side is None else (side, side, 3)


@functools.cache
def traced(name, arg, size):
    """Shapes of the gradient of the training loss of one image, and of the weights."""
    plan = build.plan(config(name, arg))
    model = plan.model.at(size)
    params = jax.eval_shape(model.network.init, jax.random.key(0))

    def gradient(params, image, key):
        def loss(params):
            told = None
            if model.conditioner is not None:
                told = jnp.asarray(model.conditioner.null())
            return plan.train.objective(model.target(params), image, key, told)

        return jax.grad(loss)(params)

    key = jax.eval_shape(lambda: jax.random.key(0))
    image = jax.ShapeDtypeStruct(size, np.float32)
    return jax.eval_shape(gradient, params, image, key), params


@pytest.mark.many
@pytest.mark.parametrize("arg", ["", "smoke"])
@pytest.mark.parametrize("name", CONFIGS)
def test_builds_and_traces(name, arg):
    plan = build.plan(config(name, arg))
    assert f"configs/{name}" in (ROOT / "configs" / name).read_text()
    assert plan.attacks
    same = SAME.get(name, name)  # networks of 60 million weights take seconds to trace
    model = build.plan(config(same, arg))
    assert all(plan.config[k] == model.config[k] for k in ("network", "sde", "codec"))
    assert plan.train.objective == model.train.objective
    gradient, params = traced(same, arg, shape(plan))
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    for one, other in zip(*map(jax.tree.leaves, (gradient, params)), strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)


def test_the_fine_tuning_begins_where_the_pre_training_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"runs/text/base: does not exist"):
        build.plan(config("text/finetune.py"))
    first = build.plan(config("text/pretrain.py", "smoke"))
    assert first.split(first.source()).counts["nonmembers"] == 200


@pytest.mark.parametrize("arg", ["", "smoke"])
@pytest.mark.parametrize("name", ["sanitise", "pools"])
def test_the_pools_of_the_sanitisation_carry_the_shift_it_names(name, arg):
    plan = sanitising.plan(config(f"laion_mi/{name}.py", arg))
    source = plan.source()
    bright, dark = (
        source.images(pool.choose(source, "pool").ids).mean()
        for pool in (plan.members, plan.nonmembers)
    )
    assert bright > dark + 0.03


@pytest.mark.parametrize("arg", ["", "smoke"])
@pytest.mark.parametrize("name", ["mini", "paper"])
def test_study_builds_with_every_exhibit(name, arg):
    planned = study.plan(config(f"{name}/study.py", arg))
    papers = {"table1", "table2", "table3", "table4", "table5"}
    papers |= {f"figure{n}" for n in (1, 2, 3, "4a", "4b", 5, 6, "7a", "8a", 9, 10, 11)}
    assert papers <= set(planned.exhibits)
    small = [p for p in planned.audits.values() if p.config["data"]["name"] not in SIDE]
    for network in {p.model.at(shape(p)).network for p in small}:  # others: see above
        assert jax.eval_shape(network.init, jax.random.key(0))


@pytest.mark.parametrize("name", PAPER)
def test_has_the_published_number_of_parameters(name):
    plan = build.plan(config(name))
    params = jax.eval_shape(plan.model.at((64, 64, 3)).network.init, jax.random.key(0))
    with np.load(ROOT / "tests" / "golden" / "networks_paper_counts.npz") as counts:
        published = int(counts[plan.config["network"]["name"]])
    assert sum(prod(leaf.shape) for leaf in jax.tree.leaves(params)) == published


@pytest.mark.parametrize("model", ["ddpm", "smld", "vpsde", "vesde"])
def test_is_what_the_authors_files_say(model):
    """Process, network and meaning by the mapping for checkpoints; training by name."""
    with (ROOT / "tests/golden/checkpoint_configs.json").open() as file:
        theirs = json.load(file)[model]
    plan = build.plan(config(f"paper/ffhq1k_{model}.py"))
    spec = from_score_sde_config(theirs)
    for family, table in (
        ("network", NETWORKS),
        ("sde", SDES),
        ("parameterisation", PARAMETERISATIONS),
    ):
        assert make(family, table, plan.config[family]) == make(
            family, table, spec[family]
        )
    assert plan.config["codec"] == spec["codec"]
    assert spec["shape"] == [64, 64, 3]
    optim, training, ours = theirs["optim"], theirs["training"], plan.train
    assert ours.learning_rate == optim["lr"]
    assert (ours.beta1, ours.epsilon) == (optim["beta1"], optim["eps"])
    assert (ours.warmup, ours.clip) == (optim["warmup"], optim["grad_clip"])
    assert ours.weight_decay == optim["weight_decay"]
    assert ours.ema == theirs["model"]["ema_rate"]
    assert ours.batch == training["batch_size"]
    assert ours.reduce_mean == training["reduce_mean"]
    assert ours.snapshot_every == training["snapshot_freq"]
    assert ours.seed == theirs["seed"]
    assert ours.flip == theirs["data"]["random_flip"]
    assert ours.steps == training["n_iters"] - 1
    assert ours.weighting == "noise"
    assert training["likelihood_weighting"] is False
    sampling = theirs["sampling"]
    names = {"ancestral_sampling": "ancestral", "euler_maruyama": "euler_maruyama"}
    if sampling["corrector"] == "none":
        assert plan.config["sampler"]["name"] == names[sampling["predictor"]]
    else:
        assert plan.sampler.predictor == sampling["predictor"]
        assert plan.sampler.snr == sampling["snr"]
        assert plan.sampler.corrections == sampling["n_steps_each"]


def test_the_base_of_the_papers_configs_is_found_from_anywhere(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "configs" / "paper" / "ffhq1k_ddpm.py"
    flags = (f"--config={path}:smoke", "--config.train.steps=7", "--dry_run")
    assert cli.main(["score-mia", "audit", *flags]) == 0
    assert '"steps": 7' in capsys.readouterr().out
